/* paths: orders, errors and movements of the output of whole networks, against the solver on stored moments and against
 * networks that are cut and run from end to end; on any number of ranks. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "io/onnx/source.h"
#include "io/origin.h"
#include "model/groups/surgery.h"
#include "prune/sensitivity/paths.h"
#include "prune/sensitivity/sensitivity.h"
#include "reap/dataset.h"
#include "reap/network.h"
#include "small_networks.h"
#include "stats/collect.h"

const char *const test_suite_name = "paths";

static const char *const VGG = "datasets/fashion/vgg-fashion.onnx", *const RESNET =
                                                                        "datasets/fashion/resnet-fashion.onnx";

/* ------------------------------------------------------------------ a network and its images */

typedef struct subject {
  const reap_comm *comm;
  reap_network network; /* empty for a graph made here */
  reap_graph *graph;
  reap_groups *groups;
  reap_dataset *images;
  reap_shard shard;
} subject;

static void subject_begin(const reap_comm *comm, const char *model, reap_graph *graph, int64_t images, subject *s) {
  memset(s, 0, sizeof *s);
  s->comm = comm;
  if (model) CHECK_OK(reap_network_load(comm, test_source_path(model), &s->network));
  s->graph = model ? s->network.graph : graph;
  CU_ASSERT_PTR_NOT_NULL_FATAL(s->graph);
  CHECK_OK(reap_groups_find(s->graph, &s->groups));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &s->images));
  s->shard = reap_shard_make(images, s->graph->batch, reap_comm_rank(comm), reap_comm_size(comm));
}

static void subject_end(subject *s) {
  reap_dataset_close(&s->images);
  reap_groups_destroy(&s->groups);
  reap_network_clear(&s->network);
}

static const reap_paths_options USUAL = {
    .sizes = 3, .measured_images = 500, .sampling = {5, 1}, .ridge = REAP_DEFAULT_RIDGE};

static reap_group_paths *collect(subject *s, const reap_paths_options *options) {
  reap_group_paths *paths = NULL;
  CHECK_OK(reap_paths_collect(s->comm, s->graph, s->groups, s->images, &s->shard, options, NULL, NULL, &paths));
  CU_ASSERT_PTR_NOT_NULL_FATAL(paths);
  CHECK_OK(reap_group_paths_check(paths, "paths"));
  return paths;
}

static void check_same(const reap_group_paths *a, const reap_group_paths *b) {
  CU_ASSERT_EQUAL_FATAL(a->n, b->n);
  CU_ASSERT_EQUAL(a->measure, b->measure);
  CU_ASSERT_EQUAL(a->images, b->images);
  CU_ASSERT_EQUAL(a->measured_images, b->measured_images);
  for (int i = 0; i < a->n; i++) {
    const reap_group_path *p = &a->paths[i], *q = &b->paths[i];
    CU_ASSERT_STRING_EQUAL(p->group, q->group);
    CU_ASSERT_STRING_EQUAL(p->layer, q->layer);
    CU_ASSERT_EQUAL(p->samples, q->samples);
    CU_ASSERT_EQUAL(p->energy, q->energy);
    CU_ASSERT_EQUAL(p->ridge, q->ridge);
    CU_ASSERT_EQUAL_FATAL(p->n_removed, q->n_removed);
    CU_ASSERT_EQUAL_FATAL(p->n_sizes, q->n_sizes);
    CU_ASSERT_EQUAL(memcmp(p->order, q->order, (size_t)p->n_removed * sizeof *p->order), 0);
    CU_ASSERT_EQUAL(memcmp(p->error, q->error, (size_t)p->n_removed * sizeof *p->error), 0);
    CU_ASSERT_EQUAL(memcmp(p->sizes, q->sizes, (size_t)p->n_sizes * sizeof *p->sizes), 0);
    CU_ASSERT_EQUAL(memcmp(p->moved, q->moved, (size_t)p->n_sizes * sizeof *p->moved), 0);
  }
}

/* ------------------------------------------------------------------ the same on any number of ranks, and from a file
 */

/* Only the last so many prunable groups. */
static reap_group_paths *collect_last_by(const reap_comm *comm, const char *model, int64_t images, int last,
                                         reap_ridge_rule rule) {
  subject s;
  bool chosen[64] = {false};
  reap_paths_options options = USUAL;
  options.ridge_rule = rule;
  subject_begin(comm, model, NULL, images, &s);
  for (int g = reap_groups_count(s.groups) - 1; g >= 0 && last > 0; g--) {
    chosen[g] = reap_groups_at(s.groups, g)->prunable;
    last -= chosen[g];
  }
  options.chosen = chosen;
  reap_group_paths *paths = collect(&s, &options);
  subject_end(&s);
  return paths;
}

static reap_group_paths *collect_last(const reap_comm *comm, const char *model, int64_t images, int last) {
  return collect_last_by(comm, model, images, last, REAP_RIDGE_FEW_ROWS);
}

static void check_any_ranks(const char *model, int64_t images, int last) {
  reap_comm *one = NULL;
  reap_group_paths *together = collect_last(test_comm(), model, images, last);
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &one));
  reap_group_paths *alone = test_rank() == 0 ? collect_last(one, model, images, last) : NULL;
  if (!alone) {
    reap_group_paths_destroy(&together);
    reap_comm_destroy(&one);
    return;
  }
  check_same(together, alone);
  CU_ASSERT_EQUAL(together->measure, REAP_PATH_SOFT_KL);
  const int64_t held_out = images / 10, taken = together->measured_images; /* measured_images.h */
  CU_ASSERT_TRUE(taken == held_out || (held_out > 100 && taken < held_out && 3 * taken >= held_out));
  for (int i = 0; i < together->n; i++) {
    const reap_group_path *p = &together->paths[i];
    CU_ASSERT_EQUAL(p->n_sizes, 3);
    CU_ASSERT_TRUE(reap_group_path_error(p, p->sizes[0]) >= 1e-4); /* channels that cost nothing are not measured */
    CU_ASSERT_EQUAL(reap_group_path_least(p), 1);
    CU_ASSERT_TRUE(p->moved[2] > 0);
  }
  reap_group_paths_destroy(&together);
  reap_group_paths_destroy(&alone);
  reap_comm_destroy(&one);
}

/* An output in the middle, read on by what computes the other one; heads for maps and for classes. */
static reap_graph *several_outputs(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 1, 28, 28);
  net_node(g, "MaxPool", "small", "x", "small", "kernel_shape=[4,4] strides=[4,4]");
  net_conv3(g, "a", "small", 1, 6);
  net_step(g, "Relu", "ar", "a");
  net_conv3(g, "middle", "ar", 6, 5);
  net_step(g, "Relu", "mr", "middle");
  net_conv3(g, "b", "mr", 5, 8);
  net_step(g, "Relu", "br", "b");
  net_conv3(g, "map", "br", 8, 3);
  net_step(g, "GlobalAveragePool", "pool", "mr");
  net_step(g, "Flatten", "flat", "pool");
  net_dense(g, "c", "flat", 5, 7);
  net_step(g, "Relu", "cr", "c");
  net_dense(g, "classes", "cr", 7, 4);
  CHECK_OK(reap_graph_add_output(g, "middle"));
  CHECK_OK(reap_graph_add_output(g, "classes"));
  net_finish(g, "map", 16);
  return g;
}

static reap_group_paths *collect_several(const reap_comm *comm, reap_measure measure) {
  subject s;
  reap_paths_options options = USUAL;
  reap_graph *g = several_outputs();
  subject_begin(comm, NULL, g, 700, &s);
  options.measure = measure;
  reap_group_paths *paths = collect(&s, &options);
  subject_end(&s);
  reap_graph_destroy(&g);
  return paths;
}

/* Every group moves some output, whatever the first one does; with more ranks than blocks of images held out, some
 * idle. */
static void several_outputs_are_the_same_on_any_ranks(void) {
  static const reap_path_measure kinds[] = {REAP_PATH_LARGEST_SHARE, REAP_PATH_SUM_OF_SHARES};
  reap_group_paths *both[2];
  reap_comm *one = NULL;
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &one));
  for (int m = 0; m < 2; m++) {
    both[m] = collect_several(test_comm(), (reap_measure)m);
    reap_group_paths *alone = collect_several(one, (reap_measure)m);
    CU_ASSERT_EQUAL(both[m]->measure, kinds[m]);
    check_same(both[m], alone);
    reap_group_paths_destroy(&alone);
  }
  CU_ASSERT_EQUAL_FATAL(both[0]->n, 3);
  for (int i = 0; i < 3; i++) {
    const reap_group_path *p = &both[0]->paths[i], *q = &both[1]->paths[i];
    const bool moves_all = strcmp(p->group, "a") == 0;
    for (int k = 0; k < p->n_sizes; k++) {
      CU_ASSERT_TRUE(p->moved[k] > 0);
      CU_ASSERT_TRUE(moves_all ? q->moved[k] > p->moved[k] : q->moved[k] == p->moved[k]);
    }
  }
  for (int m = 0; m < 2; m++) reap_group_paths_destroy(&both[m]);
  reap_comm_destroy(&one);
}

static void vgg_is_the_same_on_any_ranks(void) { check_any_ranks(VGG, 200, 3); }
static void resnet_is_the_same_on_any_ranks(void) { check_any_ranks(RESNET, 190, 9); }
static void ranks_share_the_images_of_a_group(void) { check_any_ranks(RESNET, 1300, 1); } /* three blocks held out */

static void stored_moments_give_the_same(void) {
  subject s;
  reap_stats_writer *writer = NULL;
  reap_stats_file *file = NULL;
  reap_origin origin = {0};
  char path[1024];
  snprintf(path, sizeof path, "%s", test_scratch_path("stats.h5"));
  subject_begin(test_comm(), RESNET, NULL, 200, &s);
  const char *hash = reap_source_hash(s.network.source);
  CHECK_OK(
      reap_origin_make(hash, false, USUAL.sampling.positions, (int64_t)USUAL.sampling.seed, hash, 0, 200, &origin));
  CHECK_OK(reap_stats_writer_create(test_comm(), path, &origin, &writer));
  reap_paths_options options = USUAL;
  options.save_stats = writer;
  reap_group_paths *first = collect(&s, &options), *second = NULL;
  CHECK_OK(reap_stats_writer_commit(&writer));
  CHECK_OK(reap_stats_file_open(path, &file));
  options = USUAL;
  options.from_stats = file;
  second = collect(&s, &options);
  check_same(first, second);
  CU_ASSERT_EQUAL(second->positions, USUAL.sampling.positions);
  reap_group_paths_destroy(&second);

  /* Without images: the same paths, and no sizes. */
  CHECK_OK(reap_paths_collect(s.comm, s.graph, s.groups, NULL, NULL, &options, NULL, NULL, &second));
  CU_ASSERT_PTR_NOT_NULL_FATAL(second);
  CU_ASSERT_EQUAL(second->images, 200);
  CU_ASSERT_EQUAL(second->measured_images, 0);
  for (int i = 0; i < second->n; i++) {
    const reap_group_path *p = &first->paths[i], *q = &second->paths[i];
    CU_ASSERT_EQUAL(q->n_sizes, 0);
    CU_ASSERT_EQUAL(memcmp(p->error, q->error, (size_t)p->n_removed * sizeof *p->error), 0);
  }
  reap_group_paths_destroy(&first);
  reap_group_paths_destroy(&second);
  reap_stats_file_close(&file);
  reap_origin_clear(&origin);
  subject_end(&s);
}

/* Moments of all layers, one after the other. */
typedef struct moments_list {
  int count;
  reap_moments *moments[64];
} moments_list;

static int append(void *context, const reap_layer *layer, reap_layer_gram *gram) {
  moments_list *list = context;
  (void)layer;
  list->moments[list->count++] = gram->moments;
  gram->moments = NULL;
  return REAP_OK;
}

/* ------------------------------------------------------------------ layers that no rank holds */

/* Orders and sizes are those of the local solver; sums by panels and ScaLAPACK round elsewhere. */
static void check_alike(const reap_group_paths *found, const reap_group_paths *local) {
  CU_ASSERT_EQUAL_FATAL(found->n, local->n);
  CU_ASSERT_EQUAL(found->measured_images, local->measured_images);
  for (int i = 0; i < found->n; i++) {
    const reap_group_path *p = &found->paths[i], *q = &local->paths[i];
    CU_ASSERT_STRING_EQUAL(p->group, q->group);
    CU_ASSERT_EQUAL(p->samples, q->samples);
    CU_ASSERT_EQUAL(p->ridge, q->ridge);
    CHECK_NEAR(p->energy, q->energy, 1e-12 * q->energy);
    CU_ASSERT_EQUAL_FATAL(p->n_removed, q->n_removed);
    CU_ASSERT_EQUAL_FATAL(p->n_sizes, q->n_sizes);
    CU_ASSERT_EQUAL(memcmp(p->order, q->order, (size_t)p->n_removed * sizeof *p->order), 0);
    CU_ASSERT_EQUAL(memcmp(p->sizes, q->sizes, (size_t)p->n_sizes * sizeof *p->sizes), 0);
    CHECK_NEAR(test_max_difference(p->error, q->error, p->n_removed), 0, 1e-9);
    for (int k = 0; k < p->n_sizes; k++) CHECK_NEAR(p->moved[k], q->moved[k], 1e-4 * q->moved[k]);
  }
}

static reap_group_paths *collect_by(subject *s, reap_solver solver, reap_stats_file *stats) {
  reap_paths_options options = USUAL;
  options.solver = solver;
  options.sampling.positions = 9;
  options.from_stats = stats;
  return collect(s, &options);
}

static int count_distributed(void *context, const reap_layer *layer, reap_layer_gram *gram) {
  CU_ASSERT_PTR_NOT_NULL_FATAL(gram->panels);
  CU_ASSERT_PTR_NULL(gram->view.moments);
  CU_ASSERT_EQUAL(gram->view.n, layer->n);
  CU_ASSERT_PTR_NULL(gram->view.gram);
  ++*(int *)context;
  return REAP_OK;
}

/* Moments come by panels where the solver is that of all ranks, and to a file in the same walk. */
static void collect_distributed(subject *s, const char *path) {
  reap_origin origin = {0};
  reap_stats_writer *writer = NULL;
  reap_collect_result result;
  int count = 0;
  const reap_moments_visitor visitor = {count_distributed, true, &count};
  const char *hash = reap_source_hash(s->network.source);
  CHECK_OK(reap_origin_make(hash, false, 9, (int64_t)USUAL.sampling.seed, hash, 0, s->shard.images, &origin));
  CHECK_OK(reap_stats_writer_create(s->comm, path, &origin, &writer));
  const reap_collect_options options = {
      .sampling = {9, USUAL.sampling.seed}, .stats = writer, .solver = REAP_SOLVER_SCALAPACK, .visitor = &visitor};
  CHECK_OK(reap_collect(s->comm, s->graph, s->groups, s->images, &s->shard, &options, &result));
  CU_ASSERT_TRUE(count > 0 && count == result.n_layers);
  CHECK_OK(reap_stats_writer_commit(&writer));
  reap_origin_clear(&origin);
}

static void distributed_layers_have_the_same_paths(void) {
  subject s;
  reap_stats_file *file = NULL;
  char path[1024];
  snprintf(path, sizeof path, "%s", test_scratch_path("distributed.h5"));
  subject_begin(test_comm(), RESNET, NULL, 200, &s);
  reap_group_paths *local = collect_by(&s, REAP_SOLVER_LOCAL, NULL),
                   *distributed = collect_by(&s, REAP_SOLVER_SCALAPACK, NULL);
  check_alike(distributed, local);
  reap_group_paths_destroy(&distributed);
  collect_distributed(&s, path);
  CHECK_OK(reap_stats_file_open(path, &file));
  distributed = collect_by(&s, REAP_SOLVER_SCALAPACK, file);
  check_alike(distributed, local);
  reap_group_paths_destroy(&distributed);
  reap_group_paths_destroy(&local);
  reap_stats_file_close(&file);
  subject_end(&s);
}

/* Moments that all ranks have, solved from by all together: path and weights are those of one rank, the weights on the
 * team alone. *moments are used up. */
static void check_copies(const subject *s, const path_works *works, const path_work *like, reap_moments **moments) {
  const reap_paths_options options = {.sizes = 3, .ridge = REAP_DEFAULT_RIDGE};
  const bool mine = test_rank() % works->teams == like->team;
  reap_group_paths *paths = NULL;
  path_works both = {.n = 2};
  CHECK_OK(reap_group_paths_create(2, &paths));
  CHECK_OK(reap_calloc(&both.list, 2, sizeof *both.list));
  path_work *together = &both.list[0], *alone = &both.list[1];
  for (int i = 0; i < 2; i++) {
    both.list[i] = (path_work){.layer = like->layer, .team = like->team, .path = &paths->paths[i]};
    CHECK_OK(reap_path_work_allocate(&options, "group", "layer", &both.list[i]));
  }
  const reap_gram gram = reap_gram_of(*moments);
  CHECK_OK(reap_path_work_solve_distributed(s->comm, &options, works, &gram, together));
  alone->moments = *moments;
  *moments = NULL;
  CHECK_OK(reap_path_work_solve(&options, alone));
  const reap_group_path *p = together->path, *q = alone->path;
  CU_ASSERT_EQUAL_FATAL(p->n_sizes, q->n_sizes);
  CU_ASSERT_EQUAL(memcmp(p->order, q->order, (size_t)q->n_removed * sizeof *q->order), 0);
  CHECK_NEAR(test_max_difference(p->error, q->error, q->n_removed), 0, 1e-9);
  for (int i = 0; i < q->n_sizes; i++) {
    const int64_t count = q->sizes[i] * like->layer.block * like->layer.m;
    double largest = 0;
    CU_ASSERT_EQUAL(together->weights[i] != NULL, mine);
    for (int64_t k = 0; k < count; k++) largest = fmax(largest, fabs(alone->weights[i][k]));
    CU_ASSERT_TRUE(largest > 0);
    if (mine) CHECK_NEAR(test_max_difference(together->weights[i], alone->weights[i], count), 0, 1e-6 * largest);
  }
  reap_path_works_clear(&both);
  reap_group_paths_destroy(&paths);
}

static void copies_of_moments_have_the_same_paths(void) {
  subject s;
  moments_list list = {0};
  path_works works;
  int64_t count;
  const reap_moments_visitor visitor = {append, false, &list};
  const reap_collect_options options = {.sampling = {9, 1}, .visitor = &visitor};
  reap_collect_result result;
  subject_begin(test_comm(), RESNET, NULL, 200, &s);
  CHECK_OK(reap_collect(s.comm, s.graph, s.groups, s.images, &s.shard, &options, &result));
  CHECK_OK(reap_path_works_plan(s.graph, s.groups, &USUAL, 200, test_ranks(), &count, &works));
  CU_ASSERT_EQUAL(count, 20);
  CU_ASSERT_EQUAL_FATAL(list.count, works.n);
  for (int k = 0; k < works.n; k++)
    if (k < 3)
      check_copies(&s, &works, &works.list[k], &list.moments[k]);
    else
      reap_moments_destroy(&list.moments[k]);
  reap_path_works_clear(&works);
  subject_end(&s);
}

/* ------------------------------------------------------------------ by brute force */

/* Outputs [images, size] of the images whose index is 9 modulo 10, the whole network from end to end, padded with
 * zeros. */
static float *run_held_out(const subject *s, const reap_graph *graph, int64_t *count) {
  const int64_t batch = graph->batch;
  const reap_value *x = &graph->values[graph->inputs[0]], *y = &graph->values[graph->outputs[0]];
  const int64_t in = reap_value_count(x) / batch, out = reap_value_count(y) / batch;
  float *rows = NULL;
  *count = s->shard.images / 10;
  CHECK_OK(reap_alloc(&rows, (*count + batch) * out, sizeof *rows));
  for (int64_t at = 0; at < *count; at += batch) {
    reap_frontier *f = NULL;
    float *storage = NULL;
    CHECK_OK(reap_frontier_create(graph, 1, REAP_BACKEND_AUTO, &f));
    CHECK_OK(reap_frontier_input(f, 0, 0, &storage));
    memset(storage, 0, (size_t)(batch * in) * sizeof *storage);
    for (int64_t i = at; i < at + batch && i < *count; i++)
      CHECK_OK(reap_dataset_read(s->images, 0, 10 * i + 9, 1, true, storage + (i - at) * in));
    CHECK_OK(reap_frontier_advance(f, graph->outputs, 1));
    reap_storage_to_rows(y, reap_frontier_value(f, graph->outputs[0], 0), rows + at * out);
    reap_frontier_destroy(&f);
  }
  return rows;
}

/* Of soft-maxes at temperature 4, times 16. */
static double textbook_kl(const float *x, const float *y, int64_t images, int64_t classes) {
  double sum = 0;
  for (int64_t i = 0; i < images; i++, x += classes, y += classes) {
    double p = 0, q = 0;
    for (int64_t k = 0; k < classes; k++) p += exp(x[k] / 4.0);
    for (int64_t k = 0; k < classes; k++) q += exp(y[k] / 4.0);
    for (int64_t k = 0; k < classes; k++) sum += exp(x[k] / 4.0) / p * (x[k] / 4.0 - log(p) - y[k] / 4.0 + log(q));
  }
  return 16 * sum / (double)images;
}

static double squared_error(const float *x, const float *y, int64_t count) {
  double error = 0, energy = 0;
  for (int64_t i = 0; i < count; i++) {
    error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    energy += (double)x[i] * (double)x[i];
  }
  return error / energy;
}

/* One group at one size: channels by the solver's path, weights by a fresh solve, the network cut and run. */
static void check_moved(const subject *s, const reap_group_path *p, int which, int group, int node,
                        const reap_moments *moments, const float *reference, bool divergence) {
  const int64_t size = p->sizes[which];
  reap_path *at = NULL, *solved = NULL;
  reap_graph *graph = NULL;
  reap_groups *groups = NULL;
  int64_t count;
  const reap_gram gram = reap_gram_of(moments);
  const reap_solve_options options = reap_solver_local(REAP_DEFAULT_RIDGE);
  CHECK_OK(reap_solve(&gram, size, &options, p->layer, &solved));
  CHECK_OK(reap_refit(&gram, size, solved->kept, &options, p->layer, &at));
  CHECK_OK(reap_graph_clone(s->graph, &graph));
  CHECK_OK(reap_groups_find(graph, &groups));
  CHECK_OK(reap_surgery_cut(graph, groups, group, size, solved->kept));
  CHECK_OK(reap_surgery_set_weights(graph, node, at->weights, at->bias));
  float *rows = run_held_out(s, graph, &count);
  const int64_t outputs = reap_value_count(&graph->values[graph->outputs[0]]) / graph->batch;
  const double moved =
      divergence ? textbook_kl(reference, rows, count, outputs) : squared_error(reference, rows, count * outputs);
  CU_ASSERT_TRUE(moved > 0);
  CHECK_NEAR(p->moved[which], moved, 1e-4 * moved + 1e-10);
  reap_free(&rows);
  reap_path_destroy(&at);
  reap_path_destroy(&solved);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&graph);
}

static void check_brute_force(subject *s, bool divergence) {
  moments_list list = {0};
  const reap_moments_visitor visitor = {append, false, &list};
  const reap_collect_options options = {.sampling = USUAL.sampling, .visitor = &visitor};
  reap_collect_result result;
  reap_layer *layers = NULL;
  int n = 0;
  int64_t count;
  reap_group_paths *paths = collect(s, &USUAL);
  CU_ASSERT_EQUAL(paths->measure, divergence ? REAP_PATH_SOFT_KL : REAP_PATH_SQUARED_ERROR);
  CHECK_OK(reap_collect(s->comm, s->graph, s->groups, s->images, &s->shard, &options, &result));
  CHECK_OK(reap_collect_layers(s->graph, s->groups, false, &n, &layers));
  CU_ASSERT_EQUAL_FATAL(n, paths->n);
  CU_ASSERT_EQUAL_FATAL(n, list.count);
  float *reference = run_held_out(s, s->graph, &count);
  for (int k = 0; k < n; k++) {
    const reap_group_path *p = &paths->paths[k];
    const int group = reap_groups_consumed_by(s->groups, layers[k].node);
    reap_path *solved = NULL;
    CU_ASSERT_STRING_EQUAL(p->layer, s->graph->nodes[layers[k].node]->layer);
    CU_ASSERT_STRING_EQUAL(p->group, reap_groups_at(s->groups, group)->name);
    const reap_gram gram = reap_gram_of(list.moments[k]);
    const reap_solve_options local = reap_solver_local(REAP_DEFAULT_RIDGE);
    CHECK_OK(reap_solve(&gram, 1, &local, p->layer, &solved));
    CU_ASSERT_EQUAL_FATAL(solved->n_removed, p->n_removed);
    for (int64_t i = 0; i < p->n_removed; i++) {
      CU_ASSERT_EQUAL(p->order[i], solved->order[i]);
      CHECK_NEAR(p->error[i], solved->error[i] / solved->energy, 1e-14);
    }
    for (int i = 0; i < p->n_sizes; i++)
      check_moved(s, p, i, group, layers[k].node, list.moments[k], reference, divergence);
    reap_path_destroy(&solved);
    reap_moments_destroy(&list.moments[k]);
  }
  reap_free(&reference);
  reap_free(&layers);
  reap_group_paths_destroy(&paths);
}

static void classifiers_move_as_if_cut_and_run(void) {
  subject s;
  subject_begin(test_comm(), RESNET, NULL, 160, &s);
  check_brute_force(&s, true);
  subject_end(&s);
}

/* No classifier: an image comes out, with a shortcut around the group and a stride. */
static void other_networks_move_as_if_cut_and_run(void) {
  subject s;
  reap_graph *g = net_begin();
  net_image(g, "x", 1, 28, 28);
  net_conv3(g, "a", "x", 1, 6);
  net_step(g, "Relu", "a.relu", "a");
  net_conv3(g, "b", "a.relu", 6, 8);
  net_step(g, "Relu", "b.relu", "b");
  net_conv3(g, "c", "b.relu", 8, 7);
  net_step(g, "Relu", "c.relu", "c");
  net_conv3(g, "d", "c.relu", 7, 8);
  net_node(g, "Add", "sum", "d b.relu", "sum", NULL);
  net_step(g, "Relu", "sum.relu", "sum");
  net_conv3(g, "e", "sum.relu", 8, 2);
  net_finish(g, "e", 7);
  subject_begin(test_comm(), NULL, g, 93, &s);
  check_brute_force(&s, false);
  subject_end(&s);
  reap_graph_destroy(&g);
}

/* ------------------------------------------------------------------ options */

static void options_are_followed(void) {
  subject s;
  bool *chosen = NULL;
  int wanted = -1;
  subject_begin(test_comm(), VGG, NULL, 70, &s);
  CHECK_OK(reap_calloc(&chosen, reap_groups_count(s.groups), sizeof *chosen));
  for (int g = 0; g < reap_groups_count(s.groups); g++)
    if (reap_groups_at(s.groups, g)->prunable) wanted = g;
  chosen[wanted] = true;
  reap_paths_options options = USUAL;
  options.chosen = chosen;
  options.min_keep = 9;
  options.measured_images = 4;
  options.sizes = 40;
  reap_group_paths *paths = collect(&s, &options);
  CU_ASSERT_EQUAL_FATAL(paths->n, 1);
  CU_ASSERT_EQUAL(paths->measured_images, 4);
  CU_ASSERT_STRING_EQUAL(paths->paths[0].group, reap_groups_at(s.groups, wanted)->name);
  CU_ASSERT_EQUAL(reap_group_path_least(&paths->paths[0]), 9);
  CU_ASSERT_TRUE(paths->paths[0].n_sizes > 10 && paths->paths[0].sizes[paths->paths[0].n_sizes - 1] >= 9);
  reap_group_paths_destroy(&paths);
  chosen[wanted] = false;
  CHECK_FAILS(reap_paths_collect(s.comm, s.graph, s.groups, s.images, &s.shard, &options, NULL, NULL, &paths),
              REAP_ERR_INPUT, "no channel group");
  reap_free(&chosen);
  subject_end(&s);
}

static void without_held_out_images_nothing_is_measured(void) {
  subject s;
  subject_begin(test_comm(), RESNET, NULL, 9, &s);
  reap_group_paths *paths = collect(&s, &USUAL);
  CU_ASSERT_EQUAL(paths->measured_images, 0);
  for (int i = 0; i < paths->n; i++) {
    CU_ASSERT_EQUAL(paths->paths[i].n_sizes, 0);
    CU_ASSERT_EQUAL(reap_group_path_moved(&paths->paths[i], 1), 0);
    CU_ASSERT_TRUE(reap_group_path_error(&paths->paths[i], 1) > 0);
  }
  reap_group_paths_destroy(&paths);
  subject_end(&s);
}

/* Fewer images than one channel has columns: every size fits the images, and the least one is measured on those held
 * out. */
static void layers_that_fit_all_images_are_measured(void) {
  subject s;
  reap_graph *g = net_begin();
  net_image(g, "x", 1, 28, 28);
  net_conv3(g, "a", "x", 1, 4);
  net_node(g, "Flatten", "flat", "a", "flat", NULL);
  net_dense(g, "b", "flat", 4 * 28 * 28, 5);
  net_finish(g, "b", 7);
  subject_begin(test_comm(), NULL, g, 60, &s);
  reap_group_paths *paths = collect(&s, &USUAL);
  CU_ASSERT_EQUAL_FATAL(paths->n, 1);
  CU_ASSERT_TRUE(reap_group_path_error(&paths->paths[0], 1) < 1e-4);
  CU_ASSERT_EQUAL_FATAL(paths->paths[0].n_sizes, 1);
  CU_ASSERT_EQUAL(paths->paths[0].sizes[0], 1);
  CU_ASSERT_TRUE(paths->paths[0].moved[0] > 1e-4);
  reap_group_paths_destroy(&paths);
  subject_end(&s);
  reap_graph_destroy(&g);
}

/* The dense layers: 180 rows for 1152 and for 128 columns. Least squares over-fits them, and the outputs move far. */
static void few_rows_do_not_make_groups_look_precious(void) {
  reap_group_paths *given = collect_last_by(test_comm(), VGG, 200, 2, REAP_RIDGE_GIVEN),
                   *few = collect_last_by(test_comm(), VGG, 200, 2, REAP_RIDGE_FEW_ROWS);
  CU_ASSERT_EQUAL_FATAL(few->n, 2);
  for (int k = 0; k < few->n; k++) {
    const reap_group_path *a = &given->paths[k], *b = &few->paths[k];
    CU_ASSERT_EQUAL(a->ridge, REAP_DEFAULT_RIDGE);
    CU_ASSERT_TRUE(b->ridge > REAP_DEFAULT_RIDGE);
    for (int i = 0; i < b->n_sizes; i++)
      CU_ASSERT_TRUE(b->moved[i] < (k == 0 ? 0.25 : 1) * a->moved[i]); /* the first has less than a row a column */
  }
  reap_group_paths_destroy(&given);
  reap_group_paths_destroy(&few);
}

static void held_out_images_are_evenly_spaced(void) {
  int64_t indices[16];
  CU_ASSERT_EQUAL(reap_split_list(REAP_SPLIT_TENTH, 9, 100, NULL), 0);
  CU_ASSERT_EQUAL(reap_split_list(REAP_SPLIT_TENTH, 100, 0, indices), 0);
  CU_ASSERT_EQUAL(reap_split_list(REAP_SPLIT_TENTH, 100, 16, indices), 10);
  for (int i = 0; i < 10; i++) CU_ASSERT_EQUAL(indices[i], 10 * i + 9);
  CU_ASSERT_EQUAL(reap_split_list(REAP_SPLIT_TENTH, 1000, 4, indices), 4);
  for (int i = 0; i < 4; i++) CU_ASSERT_EQUAL(indices[i], 250 * i + 9);
  CU_ASSERT_EQUAL(reap_split_list(REAP_SPLIT_TENTH, 75, 3, indices), 3);
  for (int i = 0; i < 3; i++)
    CU_ASSERT_TRUE(reap_split_holds_out(REAP_SPLIT_TENTH, indices[i]) && (i == 0 || indices[i] > indices[i - 1]));
}

/* Teams share the work out evenly where there are as many groups, and images otherwise. */
static void work_is_dealt_out_evenly(void) {
  subject s;
  path_works works;
  subject_begin(test_comm(), RESNET, NULL, 10, &s);
  CHECK_OK(reap_path_works_create(s.graph, s.groups, NULL, &works));
  for (int ranks = 1; ranks <= 40; ranks++) {
    double busy[64] = {0}, slowest = 0, all = 0;
    CHECK_OK(reap_path_works_deal(s.graph, 5, 8, ranks, &works));
    CU_ASSERT_TRUE_FATAL(works.teams >= 1 && works.teams <= ranks && works.teams <= works.n);
    for (int k = 0; k < works.n; k++) {
      const int team = works.list[k].team;
      CU_ASSERT_TRUE_FATAL(team >= 0 && team < works.teams);
      const int members = ranks / works.teams + (team < ranks % works.teams), turns = (8 + members - 1) / members;
      busy[team] += turns * works.list[k].cost;
      all += 8 * works.list[k].cost;
    }
    for (int t = 0; t < works.teams; t++) slowest = fmax(slowest, busy[t]);
    if (ranks <= 2) CU_ASSERT_TRUE(slowest < 1.2 * all / ranks);
    if (ranks == 40) CU_ASSERT_TRUE(slowest < all / 16);
  }
  reap_path_works_clear(&works);
  subject_end(&s);
}

const test_case test_cases[] = {
    {"VGG is the same on any ranks", vgg_is_the_same_on_any_ranks},
    {"several outputs are the same on any ranks", several_outputs_are_the_same_on_any_ranks},
    {"ResNet is the same on any ranks", resnet_is_the_same_on_any_ranks},
    {"ranks share the images of a group", ranks_share_the_images_of_a_group},
    {"stored moments give the same", stored_moments_give_the_same},
    {"distributed layers have the same paths", distributed_layers_have_the_same_paths},
    {"copies of moments have the same paths", copies_of_moments_have_the_same_paths},
    {"classifiers move as if cut and run", classifiers_move_as_if_cut_and_run},
    {"other networks move as if cut and run", other_networks_move_as_if_cut_and_run},
    {"options are followed", options_are_followed},
    {"without held-out images nothing is measured", without_held_out_images_nothing_is_measured},
    {"layers that fit all images are measured", layers_that_fit_all_images_are_measured},
    {"few rows do not make groups look precious", few_rows_do_not_make_groups_look_precious},
    {"held-out images are evenly spaced", held_out_images_are_evenly_spaced},
    {"work is dealt out evenly", work_is_dealt_out_evenly},
    {NULL, NULL}};
