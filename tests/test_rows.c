/* rows: X and Y of matrix products on two, three and four axes, wherever their rows lie in a block, against the
 * network's own output in ONNX's order: what is gathered, moments, errors of weights, all positions or some. */
#include "model/operators/layer.h"
#include "small_networks.h"
#include "stats/accumulator.h"
#include "stats/moments_panels.h"
#include "stats/row_residual.h"
#include "stats/rows.h"

const char *const test_suite_name = "rows";

enum { BATCH = 4, IMAGES = 23 }; /* two are held out; the last block is short */

/* A product in a network, run on all images; every rank has all of them. */
typedef struct product {
  reap_graph *graph;
  reap_layer layer;
  reap_shard shard, all; /* this rank's blocks; those of one rank */
  int64_t size_x, size_y;
  float *x, *y;           /* blocks as they are stored */
  float *rows_x, *rows_y; /* the same in ONNX's order: [images, positions, n], [images, positions, m] */
  float *before, *now, *rows_before, *rows_now; /* drift of y */
} product;

static float *take(reap_frontier *front, const reap_graph *g, int value, int64_t blocks, bool rows) {
  const int64_t size = reap_value_count(&g->values[value]);
  float *out = NULL;
  CHECK_OK(reap_alloc(&out, blocks * size, sizeof *out));
  for (int64_t b = 0; b < blocks; b++) {
    const float *stored = reap_frontier_value(front, value, b);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stored);
    if (rows)
      reap_storage_to_rows(&g->values[value], stored, out + b * size);
    else
      memcpy(out + b * size, stored, (size_t)size * sizeof *out);
  }
  return out;
}

static void run(product *p) {
  reap_graph *g = p->graph;
  reap_frontier *front = NULL;
  const int64_t blocks = p->all.blocks, count = reap_value_count(&g->values[g->inputs[0]]);
  const int drift = reap_graph_find(g, "drift"), sum = reap_graph_find(g, "sum");
  const int values[] = {p->layer.input, p->layer.output, drift, sum};
  reap_random random = reap_random_init(7, 0, 0);
  CHECK_OK(reap_frontier_create(g, blocks, REAP_BACKEND_AUTO, &front));
  for (int64_t b = 0; b < blocks; b++) {
    float *x = NULL;
    CHECK_OK(reap_frontier_input(front, 0, b, &x));
    for (int64_t i = 0; i < count; i++) x[i] = (float)reap_random_normal(&random);
  }
  CHECK_OK(reap_frontier_advance(front, values, 4));
  p->x = take(front, g, p->layer.input, blocks, false);
  p->y = take(front, g, p->layer.output, blocks, false);
  p->before = take(front, g, drift, blocks, false);
  p->now = take(front, g, sum, blocks, false);
  p->rows_x = take(front, g, p->layer.input, blocks, true);
  p->rows_y = take(front, g, p->layer.output, blocks, true);
  p->rows_before = take(front, g, drift, blocks, true);
  p->rows_now = take(front, g, sum, blocks, true);
  reap_frontier_destroy(&front);
}

/* x -> Relu -> MatMul (+ bias), with `rows` rows of an image on two axes (a Reshape that deals them to the batch). */
static product make(int rank, int rows) {
  static const char *const shapes[] = {"", "", "", "-1,5,6", "-1,3,5,6"};
  product p = {0};
  reap_graph *g = p.graph = net_begin();
  if (rank == 2) {
    const int64_t dims[] = {-1, 6 * rows};
    CHECK_OK(reap_graph_add_input(g, "images", REAP_F32, 2, dims, NULL));
    net_ints(g, "to", "-1,6");
    net_node(g, "Reshape", "", "images to", "x", NULL);
  } else {
    int64_t dims[REAP_MAX_RANK];
    net_numbers(shapes[rank], dims);
    CHECK_OK(reap_graph_add_input(g, "x", REAP_F32, rank, dims, NULL));
  }
  net_step(g, "Relu", "relu", "x");
  net_weights(g, "w", "6,4");
  net_weights(g, "b", "4");
  net_node(g, "MatMul", "product", "relu w", "bare", NULL);
  net_node(g, "Add", "shift", "bare b", "y", NULL);
  net_weights(g, "v", "6,4");
  net_node(g, "MatMul", "other", "relu v", "drift", NULL);
  net_node(g, "Add", "sum", "y drift", "sum", NULL);
  if (rank == 2) {
    char columns[32];
    snprintf(columns, sizeof columns, "-1,%d", 4 * rows);
    net_ints(g, "back", columns);
    net_node(g, "Reshape", "", "sum back", "result", NULL);
  }
  net_finish(g, rank == 2 ? "result" : "sum", BATCH);
  CHECK_OK(reap_layer_view(g, net_layer(g, "product"), 6, &p.layer));
  p.all = reap_shard_make(IMAGES, BATCH, 0, 1);
  p.shard = reap_shard_make(IMAGES, BATCH, test_rank(), test_ranks());
  p.size_x = p.layer.positions * p.layer.n;
  p.size_y = p.layer.positions * p.layer.m;
  run(&p);
  return p;
}

static void clear(product *p) {
  float **all[] = {&p->x, &p->y, &p->rows_x, &p->rows_y, &p->before, &p->now, &p->rows_before, &p->rows_now};
  for (int i = 0; i < 8; i++) reap_free(all[i]);
  reap_graph_destroy(&p->graph);
}

static float target_at(const product *p, bool drift, int64_t row, int64_t j) {
  const int64_t at = row * p->layer.m + j;
  return drift ? p->rows_y[at] + (p->rows_before[at] - p->rows_now[at]) : p->rows_y[at];
}

/* The product as samples of this rank's blocks, with the drift in its target or without. */
typedef struct origin {
  const product *product;
  bool drift;
  float *target; /* [BATCH, size_y] */
} origin;

static int read_block(void *context, int64_t b, const float **x, const float **y) {
  const origin *c = context;
  const product *p = c->product;
  const int64_t block = p->shard.first + b, step = BATCH * p->size_y;
  if (x) *x = p->x + block * BATCH * p->size_x;
  if (y) *y = c->drift ? c->target : p->y + block * step;
  for (int64_t i = block * step; y && c->drift && i < (block + 1) * step; i++)
    c->target[i - block * step] = p->y[i] + (p->before[i] - p->now[i]);
  return REAP_OK;
}

static reap_samples samples_of(origin *c, const reap_sampling *sampling) {
  return (reap_samples){.layer = c->product->layer,
                        .name = "layer",
                        .sampling = *sampling,
                        .split = REAP_SPLIT_TENTH,
                        .shard = c->product->shard,
                        .read = read_block,
                        .context = c};
}

/* ---------------------------------------------------------------- written out */

/* used: [IMAGES, positions]. Moments, or (held_out) the squared error of the weights, of rows that count. */
static void mark(const product *p, const reap_sampling *sampling, bool *used) {
  const reap_samples samples = {.layer = p->layer, .name = "layer", .sampling = *sampling};
  const int64_t count = reap_samples_per_image(&samples);
  int64_t *positions = NULL;
  CHECK_OK(reap_alloc(&positions, count, sizeof *positions));
  memset(used, 0, (size_t)(IMAGES * p->layer.positions) * sizeof *used);
  for (int64_t i = 0; i < IMAGES; i++) {
    reap_samples_positions(&samples, i, positions);
    for (int64_t k = 0; k < count; k++) used[i * p->layer.positions + positions[k]] = true;
  }
  reap_free(&positions);
}

static reap_moments *brute_force(const product *p, const bool *used, bool drift) {
  const reap_layer *l = &p->layer;
  reap_moments *r = NULL;
  CHECK_OK(reap_moments_create(l->channels, l->block, l->m, &r));
  for (int64_t row = 0; row < IMAGES * l->positions; row++) {
    if (!used[row] || reap_split_holds_out(REAP_SPLIT_TENTH, row / l->positions)) continue;
    const float *x = p->rows_x + row * l->n;
    for (int64_t i = 0; i < l->n; i++) {
      for (int64_t k = 0; k < l->n; k++) r->gram[i * l->n + k] += (double)x[i] * (double)x[k];
      for (int64_t j = 0; j < l->m; j++) r->cross[i * l->m + j] += (double)x[i] * (double)target_at(p, drift, row, j);
      r->sum_x[i] += (double)x[i];
    }
    for (int64_t j = 0; j < l->m; j++) {
      const double y = (double)target_at(p, drift, row, j);
      r->sum_y[j] += y;
      r->energy += y * y;
    }
    r->samples++;
  }
  return r;
}

static double brute_residual(const product *p, const bool *used, bool held_out, const double *w, const double *bias) {
  const reap_layer *l = &p->layer;
  double error = 0;
  for (int64_t row = 0; row < IMAGES * l->positions; row++) {
    if (!used[row] || reap_split_holds_out(REAP_SPLIT_TENTH, row / l->positions) != held_out) continue;
    for (int64_t j = 0; j < l->m; j++) {
      double d = (double)p->rows_y[row * l->m + j] - bias[j];
      for (int64_t i = 0; i < l->n; i++) d -= (double)p->rows_x[row * l->n + i] * w[i * l->m + j];
      error += d * d;
    }
  }
  return error;
}

/* ---------------------------------------------------------------- checks */

/* Every row of the images walked over comes once, in order, whatever the chunks: all columns tap by tap (one tap), or
 * some channels and outputs. */
static void check_gathered(const product *p, const reap_sampling *sampling, const bool *used, reap_part part,
                           int64_t capacity, bool some) {
  const reap_layer *l = &p->layer;
  const int64_t channel[] = {1, 2, 5}, slots = some ? 3 : 0, y_first = some ? 1 : 0, y_count = some ? 2 : l->m;
  origin c = {p, false, NULL};
  const reap_samples samples = samples_of(&c, sampling);
  const reap_walk walk = {part, 0, reap_samples_blocks(&samples), 0, y_first, y_count};
  int64_t row = p->shard.first * BATCH * l->positions, count = 1, wrong = 0;
  reap_rows rows;
  CHECK_OK(reap_rows_create(&samples, slots, some ? channel : NULL, y_count, capacity, &rows));
  reap_rows_start(&rows, &walk);
  while (count > 0) {
    CHECK_OK(reap_rows_next(&rows, &count));
    CU_ASSERT_TRUE(count <= capacity);
    for (int64_t r = 0; r < count; r++, row++) {
      while (row < IMAGES * l->positions &&
             (!used[row] || (part != REAP_ALL_IMAGES &&
                             reap_split_holds_out(REAP_SPLIT_TENTH, row / l->positions) != (part == REAP_HELD_OUT))))
        row++;
      CU_ASSERT_TRUE_FATAL(row < IMAGES * l->positions);
      for (int64_t i = 0; i < rows.columns; i++)
        wrong += rows.x[r * rows.columns + i] != (double)p->rows_x[row * l->n + (some ? channel[i] : i)];
      for (int64_t j = 0; j < y_count; j++)
        wrong += rows.y[r * y_count + j] != (double)p->rows_y[row * l->m + y_first + j];
    }
  }
  for (; row < p->shard.last * BATCH * l->positions && row < IMAGES * l->positions; row++)
    wrong += used[row] && (part == REAP_ALL_IMAGES ||
                           reap_split_holds_out(REAP_SPLIT_TENTH, row / l->positions) == (part == REAP_HELD_OUT));
  CU_ASSERT_EQUAL(wrong, 0);
  reap_rows_clear(&rows);
}

/* Rows of X that are there already are given again; those of one channel on, and those of other walks, are gathered. */
static void check_kept_chunk(const product *p, const reap_sampling *sampling) {
  origin c = {p, false, NULL};
  const reap_samples samples = samples_of(&c, sampling);
  const int64_t blocks = reap_samples_blocks(&samples), all = IMAGES * reap_samples_per_image(&samples);
  const reap_walk inputs = {.end = blocks}, outputs = {.end = blocks, .first = 6, .y_count = p->layer.m};
  const reap_walk held_out = {.part = REAP_HELD_OUT, .end = blocks};
  int64_t first = 0, again = 0, rest = 0;
  reap_rows rows;
  CHECK_OK(reap_rows_create(&samples, 6, NULL, p->layer.m, all, &rows));
  const reap_walk *const walks[] = {&inputs, &inputs, &outputs, &inputs, &held_out, &inputs};
  const bool gathers[] = {true, false, false, false, true, true};
  for (int i = 0; i < 6; i++) {
    reap_rows_start(&rows, walks[i]);
    CU_ASSERT_EQUAL(rows.gathers, gathers[i]);
    CHECK_OK(reap_rows_next(&rows, &again));
    CHECK_OK(reap_rows_next(&rows, &rest));
    CU_ASSERT_EQUAL(rest, 0);
    if (i == 0) first = again;
    if (i != 4) CU_ASSERT_EQUAL(again, first);
  }
  reap_rows_clear(&rows);
}

static void check_same(const reap_moments *found, const reap_moments *wanted) {
  const int64_t n = wanted->n, m = wanted->m;
  const double size = wanted->energy + wanted->gram[0] * (double)n;
  CU_ASSERT_EQUAL(found->samples, wanted->samples);
  CHECK_NEAR(test_max_difference(found->gram, wanted->gram, n * n), 0, 1e-12 * size);
  CHECK_NEAR(test_max_difference(found->cross, wanted->cross, n * m), 0, 1e-12 * size);
  CHECK_NEAR(test_max_difference(found->sum_x, wanted->sum_x, n), 0, 1e-12 * size);
  CHECK_NEAR(test_max_difference(found->sum_y, wanted->sum_y, m), 0, 1e-12 * size);
  CHECK_NEAR(found->energy, wanted->energy, 1e-12 * size);
}

/* The layer's own weights, and some that are not. */
static void weights_of(const product *p, double factor, double *w, double *bias) {
  const reap_node *node = p->graph->nodes[p->layer.node];
  const reap_tensor *file = reap_node_constant(p->graph, node, 1), *b = reap_node_constant(p->graph, node, 2);
  for (int64_t i = 0; i < p->layer.n; i++)
    for (int64_t j = 0; j < p->layer.m; j++) w[i * p->layer.m + j] = factor * (double)file->f32[j * p->layer.n + i];
  for (int64_t j = 0; j < p->layer.m; j++) bias[j] = (double)b->f32[j];
}

static void check_accumulator(const product *p, const reap_sampling *sampling, const bool *used) {
  int64_t kept[6] = {0, 1, 2, 3, 4, 5};
  double w[24], bias[4];
  for (int drift = 0; drift < 2; drift++) {
    reap_accumulator *a = NULL;
    reap_moments *found = NULL, *wanted = brute_force(p, used, drift);
    origin c = {p, drift, NULL};
    const reap_samples samples = samples_of(&c, sampling);
    CHECK_OK(reap_alloc(&c.target, BATCH * p->size_y, sizeof *c.target));
    CHECK_OK(reap_accumulator_create(&samples, &a));
    CHECK_OK(reap_accumulator_sum(a, test_comm()));
    CHECK_OK(reap_accumulator_reduce(a, test_comm(), &found));
    check_same(found, wanted);
    for (int own = 0; own < 2 && !drift; own++) {
      reap_held_out_error error;
      weights_of(p, own ? 1 : 0.5, w, bias);
      CHECK_OK(reap_accumulator_residual(a, test_comm(), 6, kept, w, bias, &error));
      CHECK_NEAR(error.error, brute_residual(p, used, true, w, bias), 1e-12 * found->energy);
      CU_ASSERT_TRUE(own ? error.error < 1e-10 * error.energy : error.error > 1e-3 * error.energy);
    }
    reap_moments_destroy(&found);
    reap_moments_destroy(&wanted);
    reap_accumulator_destroy(&a);
    reap_free(&c.target);
  }
}

static void check_panels(product *p, const reap_sampling *sampling, const bool *used) {
  origin c = {p, false, NULL};
  const reap_samples samples = samples_of(&c, sampling);
  int64_t kept[6] = {0, 1, 2, 3, 4, 5};
  double w[24], bias[4];
  reap_moments_panels *panels = NULL;
  reap_moments *wanted = brute_force(p, used, false);
  CHECK_OK(reap_moments_panels_create(test_comm(), &samples, 4, &panels));
  const reap_gram *source = reap_moments_panels_gram(panels);
  CU_ASSERT_EQUAL(source->samples, wanted->samples);
  CHECK_NEAR(source->energy, wanted->energy, 1e-12 * wanted->energy);
  CHECK_NEAR(test_max_difference(source->sum_x, wanted->sum_x, 6), 0, 1e-11 * wanted->energy);
  for (int64_t i = 0; i < 6; i++) CHECK_NEAR(source->diagonal[i], wanted->gram[i * 7], 1e-12 * wanted->gram[i * 7]);
  for (int own = 0; own < 2; own++)
    for (int held_out = 0; held_out < 2; held_out++) {
      reap_held_out_error error;
      weights_of(p, own ? 1 : 0.5, w, bias);
      CHECK_OK(reap_row_residual(test_comm(), &samples, held_out, 6, kept, w, bias, &error));
      CHECK_NEAR(error.error, brute_residual(p, used, held_out, w, bias), 1e-12 * wanted->energy);
      CU_ASSERT_TRUE(own ? error.error < 1e-10 * error.energy : error.error > 1e-3 * error.energy);
    }
  reap_moments_panels_destroy(&panels);
  reap_moments_destroy(&wanted);
}

static void check(int rank, int rows) {
  product p = make(rank, rows);
  bool *used = NULL;
  CHECK_OK(reap_alloc(&used, IMAGES * p.layer.positions, sizeof *used));
  for (int64_t positions = 0; positions < p.layer.positions; positions += 3) {
    const reap_sampling sampling = {positions, 5};
    mark(&p, &sampling, used);
    for (reap_part part = REAP_IN_SUMS; part <= REAP_ALL_IMAGES; part++) {
      check_gathered(&p, &sampling, used, part, 5, false);
      check_gathered(&p, &sampling, used, part, 1000, true);
    }
    check_kept_chunk(&p, &sampling);
    check_accumulator(&p, &sampling, used);
    check_panels(&p, &sampling, used);
  }
  reap_free(&used);
  clear(&p);
}

static void two_axes(void) { check(2, 1); }
static void two_axes_of_several_rows(void) { check(2, 7); }
static void three_axes(void) { check(3, 0); }
static void four_axes(void) { check(4, 0); }

/* Rows of one channel are stored without gaps, whatever the number of axes. */
static void gaps_are_where_numbers_lie_between(void) {
  const reap_value values[] = {{.rank = 4, .dims = {2, 1, 5, 6}, .channels_last = true},
                               {.rank = 4, .dims = {2, 3, 5, 6}, .channels_last = true},
                               {.rank = 5, .dims = {2, 3, 5, 2, 6}}};
  for (int i = 0; i < 3; i++) {
    const reap_row_layout rows = reap_row_layout_of(&values[i], values[i].rank - 1, 2);
    CU_ASSERT_EQUAL(reap_rows_have_gaps(&rows), i == 1);
  }
  const reap_row_layout pixels = reap_row_layout_of(&values[1], 1, 2);
  CU_ASSERT_FALSE(reap_rows_have_gaps(&pixels));
}

const test_case test_cases[] = {{"two axes", two_axes},
                                {"two axes, several rows an image", two_axes_of_several_rows},
                                {"three axes", three_axes},
                                {"four axes", four_axes},
                                {"gaps are where numbers lie between", gaps_are_where_numbers_lie_between},
                                {NULL, NULL}};
