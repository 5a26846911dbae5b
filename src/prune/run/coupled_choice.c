/* Choices of coupled groups; see coupled_choice.h.
 *
 * Layers that read a coupled group lie along the network, so the choice is made before anything is cut: one walk
 * through the original network gathers the moments of all of them. Those of a group wait on their owners until the last
 * has come; layers go to the rank that has the least work, n^3 for each, so far, and those that are large enough for
 * ScaLAPACK to all ranks. A layer that reads two groups gives its moments to both.
 *
 * A layer with few rows for its columns (a classifier behind global pooling has one for each image) fits whatever is
 * left of its inputs and would vote for anything: it has no vote, unless no layer of the group has enough. A group that
 * only grouped or transposed convolutions read is chosen by its weights.
 *
 * Methods other than reap make their choice on rank 0, from the moments of all layers that have a say.
 *
 * Cost: a forward pass, the layers' moments, and the eliminations (solver/joint_elimination.c). Memory: the moments of
 * the layers of all groups that are open at a place of the network.
 */
#include "coupled_choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linalg/placement.h"
#include "prune/methods/methods.h"
#include "prune/solver/joint_elimination.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "stats/collect.h"

enum { ROWS_PER_COLUMN = 5 };

/* A layer that reads a group. */
typedef struct reader {
  int group, layer; /* index among the layers */
  int64_t *unit, *produced;
  int owner; /* or REAP_JOINT_SHARED */
} reader;

typedef struct choice {
  const reap_comm *comm;
  const reap_graph *graph;
  const reap_groups *groups;
  const reap_prune_options *options;
  void *method_state;
  bool jointly; /* by joint elimination */
  reap_coupled_choice *out;
  int n_layers, n_readers;
  reap_layer *layers;     /* in topological order */
  reap_moments **moments; /* [n_layers] of those that came, on owners */
  int64_t *samples;       /* [n_layers] */
  reader *readers;        /* by groups, then in topological order */
  int next;               /* layer that comes */
} choice;

void reap_coupled_choice_clear(reap_coupled_choice *c) {
  reap_free(&c->order);
  reap_free(&c->kept);
  reap_free(&c->error);
  *c = (reap_coupled_choice){0};
}

static void clear(choice *c) {
  for (int i = 0; i < c->n_readers; i++) {
    reap_free(&c->readers[i].unit);
    reap_free(&c->readers[i].produced);
  }
  for (int i = 0; c->moments && i < c->n_layers; i++) reap_moments_destroy(&c->moments[i]);
  reap_free(&c->readers);
  reap_free(&c->moments);
  reap_free(&c->samples);
  reap_free(&c->layers);
}

/* ------------------------------------------------------------------ which layers */

static bool is_chosen(const choice *c, int g) {
  const reap_group *group = reap_groups_at(c->groups, g);
  return c->options->chosen[g] && (!group->prunable || c->options->cut_only) && c->options->counts[g] < group->units &&
         !(c->options->given && c->options->given[g]);
}

bool reap_coupled_votes(const reap_graph *graph, const reap_member *member) {
  const reap_node *node = graph->nodes[member->node];
  return member->role == REAP_CONSUMES && node->linear && reap_node_int(node, "group", 1) == 1;
}

static int find_layer(const choice *c, int node) {
  for (int k = 0; k < c->n_layers; k++)
    if (c->layers[k].node == node) return k;
  return -1;
}

/* Layers of all chosen groups. */
static int list_layers(choice *c) {
  bool *wanted = NULL;
  REAP_TRY(reap_calloc(&wanted, c->graph->n_nodes, sizeof *wanted));
  int status = reap_calloc(&c->layers, c->graph->n_nodes, sizeof *c->layers);
  for (int g = 0; g < reap_groups_count(c->groups); g++) {
    const reap_group *group = reap_groups_at(c->groups, g);
    for (int k = 0; is_chosen(c, g) && k < group->n_members; k++) {
      c->n_readers += reap_coupled_votes(c->graph, &group->members[k]);
      wanted[group->members[k].node] |= reap_coupled_votes(c->graph, &group->members[k]);
    }
  }
  for (int i = 0; status == REAP_OK && i < c->graph->n_nodes; i++)
    if (wanted[i])
      status =
          reap_layer_view(c->graph, i, reap_layer_channels(c->graph, c->graph->nodes[i]), &c->layers[c->n_layers++]);
  reap_free(&wanted);
  return status;
}

/* Units of the layer's columns, from those of the entries that it reads. */
static int list_columns(const reap_group *group, const reap_member *member, const reap_layer *layer, int64_t length,
                        reader *r) {
  int64_t *units = NULL;
  REAP_TRY(reap_alloc(&units, length, sizeof *units));
  int status = reap_alloc(&r->unit, layer->n, sizeof *r->unit);
  if (status == REAP_OK) {
    const int64_t entries = reap_member_units(group, member, units), each = layer->n / entries;
    for (int64_t i = 0; i < layer->n; i++) r->unit[i] = units[i / each];
  }
  reap_free(&units);
  return status;
}

/* Units that the layer itself makes. */
static int list_outputs(const reap_group *group, const reap_layer *layer, reader *r) {
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    if (member->node != layer->node || member->role != REAP_PRODUCES || r->produced) continue;
    REAP_TRY(reap_alloc(&r->produced, layer->m, sizeof *r->produced));
    reap_member_units(group, member, r->produced);
  }
  return REAP_OK;
}

static int list_readers(choice *c) {
  const int count = c->n_readers;
  c->n_readers = 0;
  REAP_TRY(reap_calloc(&c->readers, count, sizeof *c->readers));
  for (int g = 0; g < reap_groups_count(c->groups); g++) {
    const reap_group *group = reap_groups_at(c->groups, g);
    for (int k = 0; is_chosen(c, g) && k < group->n_members; k++) {
      const reap_member *member = &group->members[k];
      if (!reap_coupled_votes(c->graph, member)) continue;
      reader *r = &c->readers[c->n_readers++];
      r->group = g;
      r->layer = find_layer(c, member->node);
      REAP_TRY(
          list_columns(group, member, &c->layers[r->layer], c->graph->values[member->value].dims[member->axis], r));
      REAP_TRY(list_outputs(group, &c->layers[r->layer], r));
    }
  }
  return REAP_OK;
}

/* Layers for all ranks: shared[n_layers]. Collective. */
static void find_shared(const choice *c, bool *shared) {
  for (int k = 0; c->jointly && k < c->n_layers; k++)
    shared[k] =
        reap_solver_choose(c->comm, c->options->solver, c->layers[k].n, c->layers[k].m) == REAP_SOLVER_SCALAPACK;
}

/* To all ranks, to the rank with the least work so far, or to rank 0. A layer's readers share its moments and its
 * owner. */
static void deal(choice *c, const bool *shared, double *work) {
  const int ranks = c->jointly ? reap_comm_size(c->comm) : 1;
  for (int i = 0; i < c->n_readers; i++) {
    reader *r = &c->readers[i];
    const double n = (double)c->layers[r->layer].n;
    const reader *same = c->readers;
    while (same->layer != r->layer) same++;
    r->owner = same->owner;
    if (same == r) {
      r->owner = shared[r->layer] ? REAP_JOINT_SHARED : 0;
      for (int rank = 1; !shared[r->layer] && rank < ranks; rank++)
        if (work[rank] < work[r->owner]) r->owner = rank;
    }
    for (int rank = 0; rank < ranks; rank++)
      if (shared[r->layer] || rank == r->owner) work[rank] += n * n * n / (shared[r->layer] ? ranks : 1);
  }
}

/* Collective. */
static int find_owners(choice *c) {
  bool *shared = NULL;
  double *work = NULL;
  int status = reap_calloc(&shared, c->n_layers, sizeof *shared);
  if (status == REAP_OK) status = reap_calloc(&work, reap_comm_size(c->comm), sizeof *work);
  status = reap_comm_agree(c->comm, status);
  if (status == REAP_OK) {
    find_shared(c, shared);
    deal(c, shared, work);
  }
  reap_free(&shared);
  reap_free(&work);
  return status;
}

static int set_up(choice *c) {
  REAP_TRY(list_layers(c));
  REAP_TRY(list_readers(c));
  REAP_TRY(reap_calloc(&c->moments, c->n_layers, sizeof *c->moments));
  return reap_calloc(&c->samples, c->n_layers, sizeof *c->samples);
}

/* ------------------------------------------------------------------ one group */

/* Whether reader i, of the group's first .. end, has a say. */
static bool has_say(const choice *c, int first, int end, int i) {
  bool some = false;
  for (int k = first; k < end; k++)
    some |= c->samples[c->readers[k].layer] >= ROWS_PER_COLUMN * c->layers[c->readers[k].layer].n;
  return !some || c->samples[c->readers[i].layer] >= ROWS_PER_COLUMN * c->layers[c->readers[i].layer].n;
}

static int allocate(const choice *c, int g, reap_coupled_choice *out) {
  out->units = reap_groups_at(c->groups, g)->units;
  out->n_kept = c->options->counts[g];
  REAP_TRY(reap_alloc(&out->order, out->units - out->n_kept, sizeof *out->order));
  REAP_TRY(reap_calloc(&out->error, out->units - out->n_kept, sizeof *out->error));
  return reap_alloc(&out->kept, out->n_kept, sizeof *out->kept);
}

/* Collective. */
static int eliminate(choice *c, int g, int first, int end) {
  reap_coupled_choice *out = &c->out[g];
  reap_joint_system *systems = NULL;
  reap_gram *grams = NULL;
  const int n = end - first;
  int status = allocate(c, g, out);
  if (status == REAP_OK) status = reap_calloc(&systems, n, sizeof *systems);
  if (status == REAP_OK) status = reap_calloc(&grams, n, sizeof *grams);
  status = reap_comm_agree(c->comm, status);
  for (int k = 0; status == REAP_OK && k < n; k++) {
    const reader *r = &c->readers[first + k];
    const reap_layer *layer = &c->layers[r->layer];
    grams[k] = reap_gram_of(c->moments[r->layer]);
    systems[k] =
        (reap_joint_system){c->graph->nodes[layer->node]->layer,       layer->n, layer->m, r->unit, r->produced,
                            has_say(c, first, end, first + k) ? 1 : 0, r->owner, &grams[k]};
    if (systems[k].weight > 0 && (out->samples == 0 || c->samples[r->layer] < out->samples))
      out->samples = c->samples[r->layer];
  }
  if (status == REAP_OK)
    status = reap_joint_eliminate(c->comm, n, systems, out->units, out->n_kept, c->options->ridge, out->order,
                                  out->error, out->kept);
  reap_free(&systems);
  reap_free(&grams);
  return reap_error_prefix(status, "group %s", reap_groups_at(c->groups, g)->name);
}

/* On rank 0, which owns the moments of readers first .. end. */
static int ask_method(const choice *c, int g, int first, int end, reap_reader *readers, reap_gram *grams) {
  reap_coupled_choice *out = &c->out[g];
  reap_path *path = NULL;
  reap_evidence evidence = {.graph = c->graph,
                            .group = reap_groups_at(c->groups, g),
                            .n_kept = out->n_kept,
                            .readers = readers,
                            .ridge = c->options->ridge,
                            .seed = c->options->seed};
  for (int i = first; i < end; i++) {
    const int k = evidence.n_readers, layer = c->readers[i].layer;
    if (!has_say(c, first, end, i)) continue;
    grams[k] = reap_gram_of(c->moments[layer]);
    readers[k] = (reap_reader){c->layers[layer].node, &grams[k], c->readers[i].unit};
    evidence.n_readers++;
    if (out->samples == 0 || c->samples[layer] < out->samples) out->samples = c->samples[layer];
  }
  const int status = reap_method_select(c->options->method, c->method_state, &evidence, out->kept, out->order, &path);
  reap_path_destroy(&path);
  return status;
}

/* Collective. */
static int choose_by_method(const choice *c, int g, int first, int end) {
  reap_reader *readers = NULL;
  reap_gram *grams = NULL;
  int status = allocate(c, g, &c->out[g]);
  if (status == REAP_OK) status = reap_calloc(&readers, end - first, sizeof *readers);
  if (status == REAP_OK) status = reap_calloc(&grams, end - first, sizeof *grams);
  if (status == REAP_OK && reap_comm_rank(c->comm) == 0) status = ask_method(c, g, first, end, readers, grams);
  reap_free(&readers);
  reap_free(&grams);
  return reap_comm_agree(c->comm, status);
}

/* The readers of the group of reader `first` end here; *last: the last of their layers. */
static int group_end(const choice *c, int first, int *last) {
  int end = first;
  *last = -1;
  for (; end < c->n_readers && c->readers[end].group == c->readers[first].group; end++)
    if (c->readers[end].layer > *last) *last = c->readers[end].layer;
  return end;
}

/* Moments that no group waits for any more. */
static void drop(choice *c) {
  for (int k = 0; k < c->next; k++) {
    bool waits = false;
    for (int first = 0, end, last; first < c->n_readers; first = end) {
      end = group_end(c, first, &last);
      for (int i = first; i < end; i++) waits |= c->readers[i].layer == k && last >= c->next;
    }
    if (!waits) reap_moments_destroy(&c->moments[k]);
  }
}

/* Collective. Groups whose last layer this is are chosen. */
static int take(void *context, const reap_layer *layer, reap_layer_gram *gram) {
  choice *c = context;
  const int k = c->next++;
  bool own = false;
  (void)layer;
  c->samples[k] = gram->view.samples;
  for (int i = 0; i < c->n_readers; i++) {
    const int owner = c->readers[i].owner;
    own |= c->readers[i].layer == k && (owner == REAP_JOINT_SHARED || owner == reap_comm_rank(c->comm));
  }
  if (own) {
    c->moments[k] = gram->moments;
    gram->moments = NULL;
  }
  for (int first = 0, end, last; first < c->n_readers; first = end) {
    end = group_end(c, first, &last);
    if (last == k)
      REAP_TRY(c->jointly ? eliminate(c, c->readers[first].group, first, end)
                          : choose_by_method(c, c->readers[first].group, first, end));
  }
  drop(c);
  return REAP_OK;
}

/* ------------------------------------------------------------------ groups without a reader */

typedef struct scored {
  double score;
  int64_t unit;
} scored;

/* Of units with equal scores the one of higher index goes first, as with methods that give scores. */
static int by_score(const void *a, const void *b) {
  const scored *x = a, *y = b;
  return x->score != y->score ? (x->score > y->score) - (x->score < y->score)
                              : (x->unit < y->unit) - (x->unit > y->unit);
}

/* Only grouped or transposed convolutions read the group, of which no least-squares problem is known: its order is that
 * of the weights. The errors are shares of what was removed, so that they ascend. Local. */
static int choose_by_weights(const choice *c, int g, scored *list, double *scores) {
  reap_coupled_choice *out = &c->out[g];
  const reap_evidence evidence = {.graph = c->graph, .group = reap_groups_at(c->groups, g), .n_kept = 1};
  reap_choice scored_units = {.scores = scores};
  double all = 0, gone = 0;
  REAP_TRY(allocate(c, g, out));
  REAP_TRY(reap_method_l1.score(NULL, &evidence, &scored_units));
  for (int64_t u = 0; u < out->units; u++) {
    list[u] = (scored){scores[u], u};
    all += scores[u];
  }
  qsort(list, (size_t)out->units, sizeof *list, by_score);
  for (int64_t k = 0; k < out->units - out->n_kept; k++) {
    out->order[k] = list[k].unit;
    gone += list[k].score;
    out->error[k] = all > 0 ? gone / all : 0;
    scores[list[k].unit] = NAN;
  }
  for (int64_t u = 0, left = 0; u < out->units; u++)
    if (!isnan(scores[u])) out->kept[left++] = u;
  return REAP_OK;
}

/* Local. Groups that no reader has. */
static int choose_others(const choice *c) {
  for (int g = 0; g < reap_groups_count(c->groups); g++) {
    bool found = !is_chosen(c, g);
    scored *list = NULL;
    double *scores = NULL;
    for (int i = 0; i < c->n_readers; i++) found |= c->readers[i].group == g;
    if (found) continue;
    const int64_t units = reap_groups_at(c->groups, g)->units;
    int status = reap_alloc(&list, units, sizeof *list);
    if (status == REAP_OK) status = reap_calloc(&scores, units, sizeof *scores);
    if (status == REAP_OK) status = choose_by_weights(c, g, list, scores);
    reap_free(&list);
    reap_free(&scores);
    REAP_TRY(status);
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ all of it */

/* Rank 0's to all: numbers that every rank works out for itself may differ where processors do. */
static int share(const choice *c) {
  for (int g = 0; g < reap_groups_count(c->groups); g++) {
    reap_coupled_choice *out = &c->out[g];
    if (!out->kept) continue;
    const size_t removed = (size_t)(out->units - out->n_kept);
    REAP_TRY(reap_comm_broadcast(c->comm, out->order, removed * sizeof *out->order, 0));
    REAP_TRY(reap_comm_broadcast(c->comm, out->error, removed * sizeof *out->error, 0));
    REAP_TRY(reap_comm_broadcast(c->comm, out->kept, (size_t)out->n_kept * sizeof *out->kept, 0));
  }
  return REAP_OK;
}

int reap_coupled_choose(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                        const reap_shard *shard, const reap_prune_options *o, void *method_state,
                        reap_coupled_choice *choices) {
  choice c = {.comm = comm,
              .graph = graph,
              .groups = groups,
              .options = o,
              .method_state = method_state,
              .jointly = o->method->gives & REAP_GIVES_PATH,
              .out = choices};
  const reap_moments_visitor visitor = {take, false, &c};
  reap_collect_result result;
  int status = set_up(&c);
  if (status == REAP_OK) status = choose_others(&c);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = find_owners(&c);
  const reap_collect_options options = {.layers = c.layers,
                                        .n_layers = c.n_layers,
                                        .sampling = {o->positions, o->seed},
                                        .backend = o->backend,
                                        .memory = o->memory,
                                        .scratch = o->scratch,
                                        .visitor = &visitor,
                                        .progress = o->progress};
  if (status == REAP_OK && c.n_layers > 0) status = reap_collect(comm, graph, groups, images, shard, &options, &result);
  if (status == REAP_OK) status = share(&c);
  clear(&c);
  return status;
}
