/* guard: new weights are compared with the network run forward, whatever the rows that they were solved from say.
 *
 * The program is linked so that two functions of the library can be made to err: where a row lies in a block, and
 * what becomes of weights on their way into a network. The first puts inputs and targets together wrongly, in the
 * solve and in the errors measured on rows alike; the second makes a layer differ from what was solved.
 */
#include "model/groups/surgery.h"
#include "prune/prune.h"
#include "reap/dataset.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/method.h"
#include "reap/solver.h"
#include "small_networks.h"

const char *const test_suite_name = "guard";

/* ---------------------------------------------------------------- what errs */

static int64_t wrong_columns;   /* rows of so many columns are taken from the last one to the first; 0: none */
static int64_t wrong_positions; /* of an image */
static int wrong_weights;       /* sets of weights still to be spoiled */
static bool wrong_alone;        /* those of layers on their own, not of whole networks */

int64_t __real_reap_row_start(const reap_row_layout *rows, int64_t columns, int64_t position);
int64_t __wrap_reap_row_start(const reap_row_layout *rows, int64_t columns, int64_t position);
int64_t __wrap_reap_row_start(const reap_row_layout *rows, int64_t columns, int64_t position) {
  return __real_reap_row_start(rows, columns, columns == wrong_columns ? wrong_positions - 1 - position : position);
}

int __real_reap_surgery_set_weights(reap_graph *graph, int index, const double *weights, const double *bias);
int __wrap_reap_surgery_set_weights(reap_graph *graph, int index, const double *weights, const double *bias);
int __wrap_reap_surgery_set_weights(reap_graph *graph, int index, const double *weights, const double *bias) {
  const reap_tensor *w = reap_node_constant(graph, graph->nodes[index], 1);
  double *spoiled = NULL;
  if (wrong_weights == 0 || wrong_alone != (graph->n_nodes == 1))
    return __real_reap_surgery_set_weights(graph, index, weights, bias);
  wrong_weights--;
  CHECK_OK(reap_alloc(&spoiled, w->count, sizeof *spoiled));
  for (int64_t i = 0; i < w->count; i++) spoiled[i] = weights[w->count - 1 - i];
  int status = __real_reap_surgery_set_weights(graph, index, spoiled, bias);
  reap_free(&spoiled);
  return status;
}

/* ---------------------------------------------------------------- runs */

typedef struct outcome {
  reap_graph *original, *pruned;
  reap_prune_result result;
} outcome;

static bool norms; /* behind the convolutions, to be folded into them */

/* A convolution of three pixels by three; what comes out is called `layer`, or that with ".n" behind a norm. */
static void conv(reap_graph *g, const char *layer, const char *in, int64_t inputs, int64_t outputs) {
  char words[200], normed[32], channels[8];
  net_conv3(g, layer, in, inputs, outputs);
  if (!norms) return;
  snprintf(normed, sizeof normed, "%s.n", layer);
  snprintf(channels, sizeof channels, "%d", (int)outputs);
  net_norm_weights(g, normed, channels);
  snprintf(words, sizeof words, "%s %s.scale %s.shift %s.mean %s.var", layer, normed, normed, normed, normed);
  net_node(g, "BatchNormalization", normed, words, normed, NULL);
}

/* Two convolutions, the second of which loses inputs, and products over the width of the maps behind them. */
static reap_graph *network(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 1, 28, 28);
  conv(g, "first", "x", 1, 6);
  net_step(g, "Relu", "relu", norms ? "first.n" : "first");
  conv(g, "second", "relu", 6, 3);
  net_weights(g, "w", "28,20");
  net_weights(g, "b", "20");
  net_node(g, "MatMul", "product", norms ? "second.n w" : "second w", "bare", NULL);
  net_node(g, "Add", "shift", "bare b", "product", NULL);
  net_finish(g, "product", 8);
  return g;
}

static void run(bool repair, int rounds, outcome *o) {
  reap_groups *groups = NULL;
  reap_dataset *images = NULL;
  bool chosen[4] = {false}, may[8] = {false};
  int64_t counts[4];
  *o = (outcome){.original = network()};
  CHECK_OK(reap_graph_clone(o->original, &o->pruned));
  CHECK_OK(reap_groups_find(o->pruned, &groups));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &images));
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    chosen[g] = group->prunable;
    counts[g] = group->prunable ? 3 : group->units;
  }
  may[net_layer(o->pruned, "product")] = repair;
  may[net_layer(o->pruned, "first")] = rounds > 0;
  const reap_shard shard = reap_shard_make(50, 8, test_rank(), test_ranks());
  const reap_prune_options options = {.method = reap_method_find("reap"),
                                      .refit = REAP_REFIT_LEAST_SQUARES,
                                      .chosen = chosen,
                                      .counts = counts,
                                      .repair = may,
                                      .producer_rounds = rounds,
                                      .positions = 60,
                                      .ridge = REAP_DEFAULT_RIDGE};
  reap_log_set_level(REAP_LOG_QUIET);
  CHECK_OK(reap_prune(test_comm(), o->original, o->pruned, groups, images, &shard, &options, &o->result));
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o->result, REAP_STEP_PRUNE), 1);
  reap_dataset_close(&images);
  reap_groups_destroy(&groups);
}

static void clear(outcome *o) {
  wrong_columns = wrong_positions = 0;
  wrong_weights = 0;
  wrong_alone = false;
  reap_prune_result_clear(&o->result);
  reap_graph_destroy(&o->original);
  reap_graph_destroy(&o->pruned);
}

static const reap_tensor *weights_of(const reap_graph *g, const char *layer) {
  return reap_node_constant(g, g->nodes[net_layer(g, layer)], 1);
}

static bool same_weights(const reap_graph *a, const reap_graph *b, const char *layer) {
  const reap_tensor *x = weights_of(a, layer), *y = weights_of(b, layer);
  CHECK_OK(reap_comm_same(test_comm(), x->f32, (size_t)x->count * sizeof *x->f32, layer));
  return x->count == y->count && memcmp(x->f32, y->f32, (size_t)x->count * sizeof *x->f32) == 0;
}

/* What the file has of a layer with a norm. */
static bool same_norm(const reap_graph *a, const reap_graph *b, const char *layer) {
  const reap_linear *x = a->nodes[net_layer(a, layer)]->linear, *y = b->nodes[net_layer(b, layer)]->linear;
  const size_t m = (size_t)x->norm->channels * sizeof(float);
  return memcmp(x->raw_weights, y->raw_weights, (size_t)x->n_raw * sizeof *x->raw_weights) == 0 &&
         memcmp(x->norm->scale, y->norm->scale, m) == 0 && memcmp(x->norm->bias, y->norm->bias, m) == 0;
}

/* ---------------------------------------------------------------- cases */

static void right_rows_repair(void) {
  outcome o;
  run(true, 0, &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_REPAIR), 1);
  const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_REPAIR, 0);
  CU_ASSERT_TRUE(l->changed && l->held_out_error < l->held_out_before);
  CU_ASSERT_FALSE(same_weights(o.original, o.pruned, "product"));
  clear(&o);
}

/* By the rows the old weights are bad and new ones better; the network knows that the old ones are good. */
static void rows_in_a_wrong_order_do_not_ruin_a_layer(void) {
  outcome right, wrong;
  run(true, 0, &right);
  const double before = reap_prune_record(&right.result, REAP_STEP_REPAIR, 0)->held_out_before;
  CU_ASSERT_TRUE(before < 0.5);
  clear(&right);
  wrong_columns = 28;
  wrong_positions = 3 * 28;
  run(true, 0, &wrong);
  const reap_step_record *l = reap_prune_record(&wrong.result, REAP_STEP_REPAIR, 0);
  CU_ASSERT_FALSE(l->changed);
  CU_ASSERT_TRUE(same_weights(wrong.original, wrong.pruned, "product"));
  CHECK_NEAR(l->held_out_error, before, 1e-4 * before);
  clear(&wrong);
}

/* The new weights come into the network as others: the trained ones are better, and come back to the last digit. */
static void falls_back(void) {
  outcome o;
  wrong_weights = 1;
  run(false, 0, &o);
  CU_ASSERT_EQUAL(wrong_weights, 0);
  const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, 0);
  const reap_tensor *now = weights_of(o.pruned, "second"), *trained = weights_of(o.original, "second");
  for (int64_t j = 0; j < 3; j++)
    for (int64_t k = 0; k < l->n_kept; k++)
      CU_ASSERT_EQUAL(
          memcmp(now->f32 + (j * l->n_kept + k) * 9, trained->f32 + (j * 6 + l->kept[k]) * 9, 9 * sizeof(float)), 0);
  if (norms) {
    const reap_norm *norm = o.pruned->nodes[net_layer(o.pruned, "second")]->linear->norm;
    const reap_norm *old = o.original->nodes[net_layer(o.original, "second")]->linear->norm;
    CU_ASSERT_EQUAL(memcmp(norm->bias, old->bias, 3 * sizeof(float)), 0);
  }
  CU_ASSERT_TRUE(l->held_out_error > 0 && l->held_out_error == l->relative_error);
  CHECK_OK(reap_comm_same(test_comm(), &l->held_out_error, sizeof l->held_out_error, "error"));
  clear(&o);
}

static void a_pruned_layer_falls_back_on_its_trained_weights(void) {
  falls_back();
  norms = true;
  falls_back();
  norms = false;
}

/* Nothing errs: what is solved is what the network does. */
static void right_weights_stay(void) {
  outcome o;
  run(false, 0, &o);
  CU_ASSERT_TRUE(reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->held_out_error !=
                 reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->relative_error);
  clear(&o);
}

static void both_layers_stay(void) {
  outcome o, alone;
  run(false, 2, &o);
  CU_ASSERT_TRUE(reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->producer_changed);
  const double better = reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->held_out_error;
  clear(&o);
  run(false, 0, &alone);
  CU_ASSERT_TRUE(better < reap_prune_record(&alone.result, REAP_STEP_PRUNE, 0)->held_out_error);
  wrong_weights = 1;
  wrong_alone = true;
  run(false, 2, &o);
  CU_ASSERT_EQUAL(wrong_weights, 0);
  CU_ASSERT_FALSE(reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->producer_changed);
  CU_ASSERT_TRUE(reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->held_out_error ==
                 reap_prune_record(&alone.result, REAP_STEP_PRUNE, 0)->held_out_error);
  CU_ASSERT_TRUE(same_weights(alone.pruned, o.pruned, "first"));
  CU_ASSERT_TRUE(same_weights(alone.pruned, o.pruned, "second"));
  for (int k = 0; norms && k < 2; k++) CU_ASSERT_TRUE(same_norm(alone.pruned, o.pruned, k ? "second" : "first"));
  clear(&o);
  clear(&alone);
}

static void a_layer_and_its_producer_stay_if_the_network_says_so(void) {
  both_layers_stay();
  norms = true;
  both_layers_stay();
  norms = false;
}

const test_case test_cases[] = {
    {"rows in the right order repair a layer", right_rows_repair},
    {"rows in a wrong order do not ruin a layer", rows_in_a_wrong_order_do_not_ruin_a_layer},
    {"a pruned layer falls back on its trained weights", a_pruned_layer_falls_back_on_its_trained_weights},
    {"weights that do what they were solved for stay", right_weights_stay},
    {"a layer and its producer stay if the network says so", a_layer_and_its_producer_stay_if_the_network_says_so},
    {NULL, NULL}};
