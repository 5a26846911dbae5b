/* Tables of times and what follows from them; see latency.h.
 *
 * A layer whose input belongs to a prunable group is timed at SIZES shares of its channels, and so is its output: 6 or
 * 36 short measurements a layer, shared by all layers of the same shape. Between sizes times are taken to be bilinear;
 * kernels work on blocks of channels, so that the true curve has steps. Layers of coupled groups are timed at as many
 * sizes, and their times are made a sum over groups (latency_sides.c). What is not a linear layer, or a transposed
 * convolution, is counted as it is in the whole network.
 */
#include "latency.h"

#include <string.h>

#include "exec/layer_time.h"
#include "latency_fit.h"
#include "latency_sides.h"
#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { SIZES = 6 };
static const double SHARES[SIZES] = {0.125, 0.25, 0.375, 0.5, 0.75, 1};

int reap_latency_create(int n, reap_latency **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  int status = reap_calloc(&(*out)->layers, n, sizeof *(*out)->layers);
  (*out)->n = n;
  if (status != REAP_OK) reap_free(out);
  return status;
}

void reap_latency_destroy(reap_latency **latency) {
  for (int i = 0; *latency && i < (*latency)->n; i++) {
    reap_layer_times *l = &(*latency)->layers[i];
    reap_free(&l->layer);
    reap_free(&l->table.in);
    reap_free(&l->table.out);
    reap_free(&l->table.ms);
  }
  if (*latency) reap_free(&(*latency)->layers);
  reap_free(latency);
}

int reap_time_table_allocate(reap_time_table *t, int n_in, int n_out) {
  REAP_TRY(reap_calloc(&t->in, n_in, sizeof *t->in));
  REAP_TRY(reap_calloc(&t->out, n_out, sizeof *t->out));
  REAP_TRY(reap_calloc(&t->ms, (int64_t)n_in * n_out, sizeof *t->ms));
  t->n_in = n_in;
  t->n_out = n_out;
  return REAP_OK;
}

/* ------------------------------------------------------------------ measuring */

/* Sizes to measure, ascending, into sizes[SIZES]; their number. */
static int choose_sizes(int64_t channels, int64_t *sizes) {
  int n = 0;
  for (int i = 0; channels > 0 && i < SIZES; i++) {
    const int64_t size = (int64_t)(SHARES[i] * (double)channels + 0.5);
    if (size > (n ? sizes[n - 1] : 0)) sizes[n++] = size;
  }
  if (n == 0) sizes[n++] = 1;
  return n;
}

/* What a layer's time depends on. */
typedef struct shape {
  int64_t positions, inputs, outputs, kernel[16];
  latency_sides sides;
  const char *op;
} shape;

static int shape_of(const reap_graph *graph, const reap_groups *groups, int index, bool coupled, shape *s) {
  const reap_node *node = graph->nodes[index];
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  reap_window w;
  memset(s, 0, sizeof *s);
  s->op = node->op->name;
  s->positions = reap_value_count(reap_node_output(graph, node, 0)) / weights->dims[0];
  s->inputs = weights->count / weights->dims[0];
  s->outputs = weights->dims[0];
  latency_sides sides;
  REAP_TRY(reap_latency_sides(graph, groups, index, coupled, &sides));
  s->sides.in = sides.in; /* one by one: padding stays zero */
  s->sides.out = sides.out;
  s->sides.groups_leave = sides.groups_leave;
  if (!reap_is_convolution(node)) return REAP_OK;
  REAP_TRY(reap_conv_window(graph, node, &w));
  const int64_t kernel[] = {w.depth,     w.height,   w.width,    w.kernel_z,   w.kernel_y,   w.kernel_x,
                            w.stride_z,  w.stride_y, w.stride_x, w.dilation_z, w.dilation_y, w.dilation_x,
                            w.pad_front, w.pad_top,  w.pad_left, w.groups};
  memcpy(s->kernel, kernel, sizeof kernel);
  return REAP_OK;
}

/* At sizes in, out of its sides, 0 where there is one size. */
static int time_layer(const reap_graph *graph, int index, const shape *s, int64_t in, int64_t out, reap_backend backend,
                      double *seconds) {
  const reap_node *node = graph->nodes[index];
  const int64_t width = reap_node_input(graph, node, 0)->dims[reap_linear_axis(graph, node)];
  const int64_t groups = s->sides.groups_leave ? out : reap_node_int(node, "group", 1);
  const int64_t inputs = s->sides.groups_leave ? s->inputs * groups : s->sides.in ? width / s->sides.in * in : width;
  return reap_layer_seconds(graph, index, inputs, s->sides.out ? s->outputs / s->sides.out * out : s->outputs, groups,
                            backend, seconds);
}

static int measure_layer(const reap_graph *graph, int index, const shape *s, reap_backend backend, reap_time_table *t) {
  int64_t in[SIZES], out[SIZES];
  const int n_in = choose_sizes(s->sides.in, in), n_out = choose_sizes(s->sides.out, out);
  REAP_TRY(reap_time_table_allocate(t, n_in, n_out));
  memcpy(t->in, in, (size_t)n_in * sizeof *in);
  memcpy(t->out, out, (size_t)n_out * sizeof *out);
  for (int i = 0; i < n_in; i++)
    for (int j = 0; j < n_out; j++) {
      double seconds = 0;
      REAP_TRY(time_layer(graph, index, s, in[i], out[j], backend, &seconds));
      t->ms[i * n_out + j] = 1000 * seconds;
    }
  return REAP_OK;
}

static int copy_table(const reap_time_table *from, reap_time_table *to) {
  REAP_TRY(reap_time_table_allocate(to, from->n_in, from->n_out));
  memcpy(to->in, from->in, (size_t)from->n_in * sizeof *to->in);
  memcpy(to->out, from->out, (size_t)from->n_out * sizeof *to->out);
  memcpy(to->ms, from->ms, (size_t)from->n_in * (size_t)from->n_out * sizeof *to->ms);
  return REAP_OK;
}

/* The same bytes: shapes were zeroed before they were filled. */
static const reap_time_table *find_shape(const shape *shapes, int n, const reap_latency *l) {
  for (int i = 0; i < n; i++)
    if (memcmp(&shapes[i], &shapes[n], sizeof *shapes) == 0) return &l->layers[i].table;
  return NULL;
}

static int measure(const reap_graph *graph, const reap_groups *groups, bool coupled, reap_backend backend,
                   const reap_progress *progress, shape *shapes, reap_latency *l) {
  int at = 0;
  double seconds = 0;
  reap_progress_report(progress, "latency", NULL, 0, l->n, NULL);
  REAP_TRY(reap_graph_seconds(graph, backend, &seconds));
  l->whole = 1000 * seconds;
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!graph->nodes[i]->linear) continue;
    const char *name = graph->nodes[i]->layer;
    REAP_TRY(reap_strdup(&l->layers[at].layer, name));
    REAP_TRY(shape_of(graph, groups, i, coupled, &shapes[at]));
    const reap_time_table *known = find_shape(shapes, at, l);
    REAP_TRY(known ? copy_table(known, &l->layers[at].table)
                   : measure_layer(graph, i, &shapes[at], backend, &l->layers[at].table));
    at++;
    reap_progress_report(progress, "latency", name, at, l->n, NULL);
  }
  return REAP_OK;
}

int reap_latency_measure(const reap_graph *graph, const reap_groups *groups, bool coupled, reap_backend backend,
                         const reap_progress *progress, reap_latency **out) {
  shape *shapes = NULL;
  int n = 0;
  for (int i = 0; i < graph->n_nodes; i++) n += graph->nodes[i]->linear != NULL;
  REAP_TRY(reap_latency_create(n, out));
  int status = reap_calloc(&shapes, n, sizeof *shapes);
  if (status == REAP_OK) status = measure(graph, groups, coupled, backend, progress, shapes, *out);
  reap_free(&shapes);
  if (status != REAP_OK) reap_latency_destroy(out);
  return status;
}

/* ------------------------------------------------------------------ as costs */

static const reap_layer_times *find(const reap_latency *l, const char *layer) {
  for (int i = 0; i < l->n; i++)
    if (strcmp(l->layers[i].layer, layer) == 0) return &l->layers[i];
  return NULL;
}

/* Tables of all linear layers, by nodes. */
static int find_tables(const reap_graph *graph, const reap_groups *groups, const bool *chosen, const reap_latency *l,
                       const reap_time_table **tables) {
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!graph->nodes[i]->linear) continue;
    const reap_layer_times *times = find(l, graph->nodes[i]->layer);
    if (!times) return reap_error(REAP_ERR_INPUT, "no times of layer %s", graph->nodes[i]->layer);
    const reap_time_table *t = &times->table;
    latency_sides narrow, wide; /* without and with coupled groups */
    REAP_TRY(reap_latency_sides(graph, groups, i, false, &narrow));
    REAP_TRY(reap_latency_sides(graph, groups, i, true, &wide));
    const int64_t in = t->in[t->n_in - 1], out = t->out[t->n_out - 1];
    const bool fits = in == (wide.in ? wide.in : 1) && out == (wide.out ? wide.out : 1),
               serves = in == (narrow.in ? narrow.in : 1) && out == (narrow.out ? narrow.out : 1);
    if (!fits && !serves)
      return reap_error(REAP_ERR_INPUT, "the times of layer %s are of other sizes than it has", graph->nodes[i]->layer);
    if (!fits && reap_latency_coupled(graph, groups, chosen, i))
      return reap_error(REAP_ERR_INPUT,
                        "the times of layer %s are not of the sizes of coupled groups: measure them anew",
                        graph->nodes[i]->layer);
    tables[i] = t;
  }
  return REAP_OK;
}

/* Layers of inner groups by their tables, those of coupled ones by what fits their tables. */
static int add_layers(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                      const reap_time_table *const *tables, reap_cost_fit *fits, reap_cost_model *m) {
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!tables[i]) continue;
    if (reap_latency_coupled(graph, groups, chosen, i)) {
      reap_latency_fit(graph, i, tables[i], &fits[i]);
      continue;
    }
    latency_sides sides;
    REAP_TRY(reap_latency_sides(graph, groups, i, false, &sides));
    REAP_TRY(reap_cost_model_add(m, sides.in ? reap_groups_consumed_by(groups, i) : -1,
                                 sides.out ? reap_groups_produced_by(groups, i) : -1, 0, tables[i]));
  }
  return reap_cost_model_add_fits(m, graph, groups, fits);
}

static int add_all(const reap_graph *graph, const reap_groups *groups, const bool *chosen, const reap_latency *l,
                   reap_cost_model *m) {
  const reap_time_table **tables = NULL;
  reap_cost_fit *fits = NULL;
  int status = reap_calloc(&tables, graph->n_nodes, sizeof *tables);
  if (status == REAP_OK) status = reap_calloc(&fits, graph->n_nodes, sizeof *fits);
  if (status == REAP_OK) status = find_tables(graph, groups, chosen, l, tables);
  if (status == REAP_OK) status = add_layers(graph, groups, chosen, tables, fits, m);
  reap_free(&tables);
  reap_free(&fits);
  return status;
}

int reap_cost_model_latency(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                            const reap_latency *latency, reap_cost_model **out) {
  REAP_TRY(reap_cost_model_create(groups, chosen, out));
  int status = add_all(graph, groups, chosen, latency, *out);
  if (status == REAP_OK) {
    reap_cost_model_finish(*out);
    (*out)->fixed += latency->whole - (*out)->whole;
    reap_cost_model_finish(*out);
  } else {
    reap_cost_model_destroy(out);
  }
  return status;
}

/* ------------------------------------------------------------------ one rank's times for all */

static int send_text(const reap_comm *comm, char **text) {
  int64_t length = *text ? (int64_t)strlen(*text) + 1 : 0;
  REAP_TRY(reap_comm_broadcast(comm, &length, sizeof length, 0));
  int status = *text ? REAP_OK : reap_calloc(text, length, 1);
  REAP_TRY(reap_comm_agree(comm, status));
  return reap_comm_broadcast(comm, *text, (size_t)length, 0);
}

static int send_table(const reap_comm *comm, reap_time_table *t) {
  int64_t counts[2] = {t->n_in, t->n_out};
  REAP_TRY(reap_comm_broadcast(comm, counts, sizeof counts, 0));
  int status = t->in ? REAP_OK : reap_time_table_allocate(t, (int)counts[0], (int)counts[1]);
  REAP_TRY(reap_comm_agree(comm, status));
  REAP_TRY(reap_comm_broadcast(comm, t->in, (size_t)counts[0] * sizeof *t->in, 0));
  REAP_TRY(reap_comm_broadcast(comm, t->out, (size_t)counts[1] * sizeof *t->out, 0));
  return reap_comm_broadcast(comm, t->ms, (size_t)(counts[0] * counts[1]) * sizeof *t->ms, 0);
}

int reap_latency_broadcast(const reap_comm *comm, reap_latency **latency) {
  int64_t n = *latency ? (*latency)->n : 0;
  REAP_TRY(reap_comm_broadcast(comm, &n, sizeof n, 0));
  int status = *latency ? REAP_OK : reap_latency_create((int)n, latency);
  REAP_TRY(reap_comm_agree(comm, status));
  REAP_TRY(reap_comm_broadcast(comm, &(*latency)->whole, sizeof(*latency)->whole, 0));
  REAP_TRY(reap_comm_broadcast(comm, (*latency)->model_hash, sizeof(*latency)->model_hash, 0));
  for (int i = 0; i < (int)n; i++) {
    REAP_TRY(send_text(comm, &(*latency)->layers[i].layer));
    REAP_TRY(send_table(comm, &(*latency)->layers[i].table));
  }
  return REAP_OK;
}
