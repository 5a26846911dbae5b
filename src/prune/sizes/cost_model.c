/* Costs from a graph; see cost_model.h. Everything follows from the linear layers and what lies along their channels: a
 * layer that reads or makes channels of several groups has a term for each pair. Cost: the groups' members a model,
 * O(terms) an evaluation. */
#include "cost_model.h"

#include <stdlib.h>
#include <string.h>

#include "model/operators.h"
#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"

double reap_time_table_at(const reap_time_table *t, int64_t in, int64_t out) {
  double value = 0;
  int i = 0, j = 0;
  while (i + 2 < t->n_in && in > t->in[i + 1]) i++;
  while (j + 2 < t->n_out && out > t->out[j + 1]) j++;
  const double u = t->n_in < 2 ? 0 : (double)(in - t->in[i]) / (double)(t->in[i + 1] - t->in[i]);
  const double v = t->n_out < 2 ? 0 : (double)(out - t->out[j]) / (double)(t->out[j + 1] - t->out[j]);
  for (int a = 0; a < 2 && i + a < t->n_in; a++)
    for (int b = 0; b < 2 && j + b < t->n_out; b++)
      value += (a ? u : 1 - u) * (b ? v : 1 - v) * t->ms[(i + a) * t->n_out + j + b];
  return value > 0 ? value : 0;
}

void reap_cost_model_destroy(reap_cost_model **model) {
  reap_cost_model *m = *model;
  if (!m) return;
  reap_free(&m->channels);
  reap_free(&m->chosen);
  reap_free(&m->terms);
  reap_free(model);
}

static int fill_bare(reap_cost_model *m, int n, const int64_t *channels, const bool *chosen) {
  m->n_groups = n;
  REAP_TRY(reap_alloc(&m->channels, n, sizeof *m->channels));
  REAP_TRY(reap_alloc(&m->chosen, n, sizeof *m->chosen));
  memcpy(m->channels, channels, (size_t)n * sizeof *channels);
  memcpy(m->chosen, chosen, (size_t)n * sizeof *chosen);
  return REAP_OK;
}

int reap_cost_model_create_bare(int n_groups, const int64_t *channels, const bool *chosen, reap_cost_model **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  int status = fill_bare(*out, n_groups, channels, chosen);
  if (status != REAP_OK) reap_cost_model_destroy(out);
  return status;
}

int reap_cost_model_create(const reap_groups *groups, const bool *chosen, reap_cost_model **out) {
  const int n = reap_groups_count(groups);
  int64_t *channels = NULL;
  REAP_TRY(reap_alloc(&channels, n, sizeof *channels));
  for (int g = 0; g < n; g++) channels[g] = reap_groups_at(groups, g)->units;
  int status = reap_cost_model_create_bare(n, channels, chosen, out);
  reap_free(&channels);
  return status;
}

double reap_cost_term_at(const reap_cost_term *term, int64_t in, int64_t out) {
  const reap_time_table *t = term->table;
  if (!t) return term->unit * (double)in * (double)out;
  return reap_time_table_at(t, term->in < 0 ? t->in[t->n_in - 1] : in, term->out < 0 ? t->out[t->n_out - 1] : out);
}

/* Channels of a term's side: those of the group, 1 without one. Tables count a layer's channels even if no group is
 * cut. */
static int64_t kept_of(const reap_cost_model *m, const int64_t *counts, int group) {
  return group < 0 ? 1 : m->chosen[group] ? counts[group] : m->channels[group];
}

double reap_cost_model_at(const reap_cost_model *m, const int64_t *counts) {
  double sum = m->fixed;
  for (int t = 0; t < m->n_terms; t++)
    sum += reap_cost_term_at(&m->terms[t], kept_of(m, counts, m->terms[t].in), kept_of(m, counts, m->terms[t].out));
  return sum;
}

void reap_cost_model_finish(reap_cost_model *m) { m->whole = reap_cost_model_at(m, m->channels); }

/* Sides that are not free become part of the unit, terms without a free side part of what is fixed. */
int reap_cost_model_add(reap_cost_model *m, int in, int out, double unit, const reap_time_table *table) {
  if (!table) {
    if (in >= 0 && !m->chosen[in]) {
      unit *= (double)m->channels[in];
      in = -1;
    }
    if (out >= 0 && !m->chosen[out]) {
      unit *= (double)m->channels[out];
      out = -1;
    }
  }
  const reap_cost_term term = {in, out, unit, table};
  if ((in < 0 || !m->chosen[in]) && (out < 0 || !m->chosen[out])) {
    m->fixed += reap_cost_term_at(&term, kept_of(m, m->channels, in), kept_of(m, m->channels, out));
    return REAP_OK;
  }
  if (m->n_terms == m->capacity) {
    const int wanted = m->capacity ? 2 * m->capacity : 32;
    REAP_TRY(reap_grow(&m->terms, m->capacity, wanted, sizeof *m->terms));
    m->capacity = wanted;
  }
  m->terms[m->n_terms++] = term;
  return REAP_OK;
}

/* ------------------------------------------------------------------ what a layer has of each group */

/* Entries along one side of a layer's weights, or of a norm's parameters, that go with the units of a group. */
typedef struct part {
  int node, group;
  bool outputs;
  double entries; /* per unit */
} part;

typedef struct parts {
  int count, capacity;
  part *list; /* by nodes, inputs first */
} parts;

static int append_part(parts *p, part added) {
  if (p->count == p->capacity) {
    const int wanted = p->capacity ? 2 * p->capacity : 64;
    REAP_TRY(reap_grow(&p->list, p->capacity, wanted, sizeof *p->list));
    p->capacity = wanted;
  }
  p->list[p->count++] = added;
  return REAP_OK;
}

/* Members where weights or parameters have a row or column for each entry. */
static bool has_entries(const reap_node *node, const reap_member *member) {
  if (node->linear || node->op->channels == REAP_CHANNELS_TRANSPOSED)
    return member->role == REAP_PRODUCES || member->role == REAP_CONSUMES;
  return node->op->channels == REAP_CHANNELS_NORM && member->input > 0 && member->input < 2;
}

/* The columns of a grouped convolution are those of one group; it has rows alone for units that are whole ones. */
static int add_member(const reap_graph *graph, const reap_group *group, const reap_member *member, parts *p) {
  const reap_node *node = graph->nodes[member->node];
  const bool outputs = member->role != REAP_CONSUMES;
  const int64_t groups = node->linear && !outputs ? reap_node_int(node, "group", 1) : 1;
  int64_t *units = NULL, entries = 0;
  if (!has_entries(node, member)) return REAP_OK;
  REAP_TRY(reap_alloc(&units, graph->values[member->value].dims[member->axis], sizeof *units));
  const int64_t count = reap_member_units(group, member, units);
  const bool none = groups > 1 && !reap_units_repeat(units, count, groups);
  for (int64_t i = 0; i < count / groups; i++) entries += units[i] >= 0;
  reap_free(&units);
  if (none) return REAP_OK;
  return append_part(p, (part){member->node, group->index, outputs, (double)entries / (double)group->units});
}

static int by_node(const void *a, const void *b) {
  const part *x = a, *y = b;
  if (x->node != y->node) return x->node < y->node ? -1 : 1;
  if (x->outputs != y->outputs) return x->outputs ? 1 : -1;
  return x->group < y->group ? -1 : x->group > y->group;
}

/* Of the groups whose size is free. */
static int find_parts(const reap_cost_model *m, const reap_graph *graph, const reap_groups *groups, parts *p) {
  for (int g = 0; g < m->n_groups; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    for (int k = 0; m->chosen[g] && k < group->n_members; k++)
      REAP_TRY(add_member(graph, group, &group->members[k], p));
  }
  if (p->count > 0) qsort(p->list, (size_t)p->count, sizeof *p->list, by_node);
  return REAP_OK;
}

/* One side of a node: its parts, and the entries of none of them. */
typedef struct side {
  const part *parts;
  int count;
  double fixed;
} side;

/* The side of node i that has `length` entries; *next, its first part or one of a node behind it, moves on. */
static side take_side(const reap_cost_model *m, const parts *p, int *next, int i, bool outputs, int64_t length) {
  side s = {p->list ? p->list + *next : NULL, 0, (double)length};
  for (; *next < p->count && p->list[*next].node == i && p->list[*next].outputs == outputs; ++*next, s.count++)
    s.fixed -= p->list[*next].entries * (double)m->channels[p->list[*next].group];
  return s;
}

/* unit * inputs * outputs, of which each group's part is a term. */
static int add_product(reap_cost_model *m, const side *in, const side *out, double unit) {
  for (int a = -1; a < in->count; a++)
    for (int b = -1; b < out->count; b++) {
      const double entries = (a < 0 ? in->fixed : in->parts[a].entries) * (b < 0 ? out->fixed : out->parts[b].entries);
      if (entries != 0)
        REAP_TRY(reap_cost_model_add(m, a < 0 ? -1 : in->parts[a].group, b < 0 ? -1 : out->parts[b].group,
                                     unit * entries, NULL));
    }
  return REAP_OK;
}

static const side NO_INPUTS = {NULL, 0, 1};

/* Re-solved weights come with a bias, which the file may not have had. */
static bool gains_bias(const reap_groups *groups, const bool *chosen, const reap_node *node, int index) {
  const int in = reap_groups_consumed_by(groups, index);
  return in >= 0 && chosen[in] && !node->linear->bias_present && !node->linear->norm;
}

static int add_layer(reap_cost_model *m, const reap_graph *graph, const reap_groups *groups, const parts *p, int *next,
                     int i, bool params) {
  const reap_node *node = graph->nodes[i];
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  const int64_t outputs = weights->dims[0], inputs = reap_weights_inputs(weights);
  const side in = take_side(m, p, next, i, false, inputs), out = take_side(m, p, next, i, true, outputs);
  const int64_t total = params ? weights->count : reap_node_flops(graph, i);
  REAP_TRY(add_product(m, &in, &out, (double)total / ((double)inputs * (double)outputs)));
  if (!params) return REAP_OK;
  if (node->linear->bias_present) REAP_TRY(add_product(m, &NO_INPUTS, &out, 1));
  if (node->linear->norm) REAP_TRY(add_product(m, &NO_INPUTS, &out, 2));
  return gains_bias(groups, m->chosen, node, i) ? add_product(m, &NO_INPUTS, &out, 1) : REAP_OK;
}

/* Weights [inputs, outputs of a group]. */
static int add_transposed(reap_cost_model *m, const reap_graph *graph, const parts *p, int *next, int i, bool params) {
  const reap_node *node = graph->nodes[i];
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  const int64_t groups = reap_node_int(node, "group", 1), rows = weights->dims[0],
                columns = reap_weights_inputs(weights);
  const side in = take_side(m, p, next, i, false, rows), out = take_side(m, p, next, i, true, columns * groups),
             of_group = {NULL, 0, (double)columns};
  const int64_t total = params ? weights->count : reap_node_flops(graph, i);
  REAP_TRY(add_product(m, &in, groups > 1 ? &of_group : &out, (double)total / ((double)rows * (double)columns)));
  return params && reap_node_constant(graph, node, 2) ? add_product(m, &NO_INPUTS, &out, 1) : REAP_OK;
}

/* A normalisation on its own: scale and bias of every channel it has, of whichever groups they are. */
static int add_norm(reap_cost_model *m, const reap_graph *graph, const parts *p, int *next, int i, bool params) {
  const side out = take_side(m, p, next, i, true, reap_node_constant(graph, graph->nodes[i], 1)->count);
  return params ? add_product(m, &NO_INPUTS, &out, 2) : REAP_OK;
}

static int add_nodes(reap_cost_model *m, const reap_graph *graph, const reap_groups *groups, const parts *p,
                     bool params) {
  int next = 0;
  for (int i = 0; i < graph->n_nodes; i++)
    if (graph->nodes[i]->linear)
      REAP_TRY(add_layer(m, graph, groups, p, &next, i, params));
    else if (graph->nodes[i]->op->channels == REAP_CHANNELS_TRANSPOSED)
      REAP_TRY(add_transposed(m, graph, p, &next, i, params));
    else if (graph->nodes[i]->op->channels == REAP_CHANNELS_NORM)
      REAP_TRY(add_norm(m, graph, p, &next, i, params));
    else if (!params)
      m->fixed += (double)reap_node_flops(graph, i); /* products of tensors that depend on the images */
  return REAP_OK;
}

static int add_fit(reap_cost_model *m, const reap_graph *graph, const parts *p, int *next, int i,
                   const reap_cost_fit *fit) {
  const reap_tensor *weights = reap_node_constant(graph, graph->nodes[i], 1);
  const side in = take_side(m, p, next, i, false, reap_weights_inputs(weights)),
             out = take_side(m, p, next, i, true, weights->dims[0]), one = NO_INPUTS;
  m->fixed += fit->c[0];
  REAP_TRY(add_product(m, &in, &one, fit->c[1]));
  REAP_TRY(add_product(m, &one, &out, fit->c[2]));
  return add_product(m, &in, &out, fit->c[3]);
}

int reap_cost_model_add_fits(reap_cost_model *m, const reap_graph *graph, const reap_groups *groups,
                             const reap_cost_fit *fits) {
  parts p = {0, 0, NULL};
  int next = 0, status = find_parts(m, graph, groups, &p);
  for (int i = 0; status == REAP_OK && i < graph->n_nodes; i++) {
    while (next < p.count && p.list[next].node < i) next++;
    if (fits[i].there) status = add_fit(m, graph, &p, &next, i, &fits[i]);
  }
  reap_free(&p.list);
  return status;
}

static int make(const reap_graph *graph, const reap_groups *groups, const bool *chosen, bool params,
                reap_cost_model **out) {
  parts p = {0, 0, NULL};
  REAP_TRY(reap_cost_model_create(groups, chosen, out));
  int status = find_parts(*out, graph, groups, &p);
  if (status == REAP_OK) status = add_nodes(*out, graph, groups, &p, params);
  reap_free(&p.list);
  if (status != REAP_OK) reap_cost_model_destroy(out);
  if (status == REAP_OK) reap_cost_model_finish(*out);
  return status;
}

int reap_cost_model_flops(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                          reap_cost_model **out) {
  return make(graph, groups, chosen, false, out);
}

int reap_cost_model_params(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                           reap_cost_model **out) {
  return make(graph, groups, chosen, true, out);
}
