/* repair: layers that lose no inputs, re-solved where pruning has changed what they read. */
#include "prune_runs.h"

const char *const test_suite_name = "repair";

static const reap_step_record *repair_of(const outcome *o, const char *layer) {
  for (int i = 0; i < reap_prune_count(&o->result, REAP_STEP_REPAIR); i++)
    if (strcmp(reap_prune_record(&o->result, REAP_STEP_REPAIR, i)->layer, layer) == 0)
      return reap_prune_record(&o->result, REAP_STEP_REPAIR, i);
  return NULL;
}

static bool is_pruned(const outcome *o, const char *layer) {
  for (int i = 0; i < reap_prune_count(&o->result, REAP_STEP_PRUNE); i++)
    if (strcmp(reap_prune_record(&o->result, REAP_STEP_PRUNE, i)->layer, layer) == 0) return true;
  return false;
}

/* Result of the group that `layer` makes, or NULL. */
static const reap_step_record *made_by(const outcome *o, const char *layer) {
  for (int i = 0; i < reap_prune_count(&o->result, REAP_STEP_PRUNE); i++)
    if (strcmp(reap_prune_record(&o->result, REAP_STEP_PRUNE, i)->group, layer) == 0)
      return reap_prune_record(&o->result, REAP_STEP_PRUNE, i);
  return NULL;
}

/* Weights and biases of a layer's outputs that are left, against those of the original network. */
static bool has_old_weights(const outcome *o, int node) {
  const reap_node *now = o->pruned->nodes[node], *before = o->network.graph->nodes[node];
  const reap_step_record *cut = made_by(o, now->layer);
  for (int slot = 1; slot < 3; slot++) {
    const reap_tensor *a = reap_node_constant(o->pruned, now, slot),
                      *b = reap_node_constant(o->network.graph, before, slot);
    const int64_t row = b->count / b->dims[0];
    CU_ASSERT_EQUAL_FATAL(a->count, row * a->dims[0]);
    for (int64_t j = 0; j < a->dims[0]; j++)
      if (memcmp(a->f32 + j * row, b->f32 + (cut ? cut->kept[j] : j) * row, (size_t)row * sizeof *a->f32) != 0)
        return false;
  }
  return true;
}

/* Whether a value of the finished network differs from the original's on any image. */
static bool has_drifted(const outcome *o, int value) {
  int64_t count;
  float *before = values_of(o->network.graph, value, o, &count), *now = values_of(o->pruned, value, o, &count);
  double different = memcmp(before, now, (size_t)count * sizeof *now) != 0;
  CHECK_OK(reap_comm_max(test_comm(), &different, 1));
  reap_free(&before);
  reap_free(&now);
  return different > 0;
}

/* The last three blocks are pruned: the layers before stay as they are, bit for bit, those behind are all repaired. */
static void only_what_has_drifted_is_touched(void) {
  outcome o;
  int untouched = 0;
  run(test_comm(), &(setting){RESNET, "reap", true, 70, 9, 1, 3, true, false, 0}, &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 3);
  for (int i = 0; i < o.pruned->n_nodes; i++) {
    const char *layer = o.pruned->nodes[i]->layer;
    if (!o.pruned->nodes[i]->linear) continue;
    const reap_step_record *l = repair_of(&o, layer);
    if (is_pruned(&o, layer)) {
      CU_ASSERT_PTR_NULL(l);
      continue;
    }
    CU_ASSERT_EQUAL(l != NULL, has_drifted(&o, o.pruned->nodes[i]->inputs[0]));
    CU_ASSERT_EQUAL(has_old_weights(&o, i), !l || !l->changed);
    untouched += !l;
  }
  CU_ASSERT_EQUAL(reap_prune_count(&o.result, REAP_STEP_REPAIR),
                  3); /* the first convolutions of two blocks, and the classifier */
  CU_ASSERT_TRUE(untouched > 10);
  clear(&o);
}

/* What is reported is what the finished network does; repair lowers it, on images held out too. */
static void errors_fall_as_reported(void) {
  outcome on, off;
  int64_t count;
  run(test_comm(), &(setting){RESNET, "reap", true, 200, 16, 1, 0, true, false, 0}, &on);
  run(test_comm(), &(setting){RESNET, "reap", true, 200, 16, 1, 0, false, false, 0}, &off);
  CU_ASSERT_EQUAL(reap_prune_count(&off.result, REAP_STEP_REPAIR), 0);
  CU_ASSERT_EQUAL(reap_prune_count(&on.result, REAP_STEP_REPAIR), 11);
  for (int i = 0; i < reap_prune_count(&on.result, REAP_STEP_REPAIR); i++) {
    const reap_step_record *l = reap_prune_record(&on.result, REAP_STEP_REPAIR, i);
    CU_ASSERT_TRUE(l->changed);
    CU_ASSERT_TRUE(l->relative_error < l->error_before);
    CU_ASSERT_TRUE(l->held_out_error < l->held_out_before);
  }
  const int output = on.network.graph->outputs[0];
  const reap_step_record *l =
      reap_prune_record(&on.result, REAP_STEP_REPAIR, reap_prune_count(&on.result, REAP_STEP_REPAIR) - 1);
  CU_ASSERT_STRING_EQUAL(l->layer, on.pruned->nodes[on.pruned->values[on.pruned->outputs[0]].producer]->layer);
  float *y = values_of(on.network.graph, output, &on, &count);
  float *z = values_of(on.pruned, on.pruned->outputs[0], &on, &count);
  float *unrepaired = values_of(off.pruned, off.pruned->outputs[0], &off, &count);
  const double held_out = measured_error(&on, y, z, 10, 1, true);
  CHECK_NEAR(measured_error(&on, y, z, 10, 1, false), l->relative_error, 1e-4 * l->relative_error);
  CHECK_NEAR(held_out, l->held_out_error, 1e-4 * l->held_out_error);
  CU_ASSERT_TRUE(held_out < 0.9 * measured_error(&on, y, unrepaired, 10, 1, true));
  reap_free(&y);
  reap_free(&z);
  reap_free(&unrepaired);
  clear(&on);
  clear(&off);
}

/* ---------------------------------------------------------------- least squares by another road */

/* Least squares min |A w - y| by Householder reflections; A [rows, n] and y [rows, m] column-major, overwritten; the
 * solution [n, m] column-major. */
static void householder(int64_t rows, int64_t n, int64_t m, double *a, double *y, double *w) {
  for (int64_t k = 0; k < n; k++) {
    double *v = a + k * rows, norm = 0, square = 0;
    for (int64_t i = k; i < rows; i++) norm += v[i] * v[i];
    const double alpha = v[k] > 0 ? -sqrt(norm) : sqrt(norm);
    v[k] -= alpha;
    for (int64_t i = k; i < rows; i++) square += v[i] * v[i];
    for (int64_t j = k + 1; j < n + m; j++) {
      double *c = j < n ? a + j * rows : y + (j - n) * rows, dot = 0;
      for (int64_t i = k; i < rows; i++) dot += v[i] * c[i];
      for (int64_t i = k; i < rows && square > 0; i++) c[i] -= 2 * dot / square * v[i];
    }
    v[k] = alpha; /* what is below is no longer read: R is above and here */
  }
  for (int64_t j = 0; j < m; j++)
    for (int64_t i = n - 1; i >= 0; i--) {
      double sum = y[j * rows + i];
      for (int64_t k = i + 1; k < n; k++) sum -= a[k * rows + i] * w[j * n + k];
      w[j * n + i] = sum / a[i * rows + i];
    }
}

/* Rows of images not held out, centred, column-major with `extra` rows of zeros below; local images are all. */
static double *centred(const outcome *o, const float *values, int64_t columns, int64_t extra, int64_t *fitted,
                       double *means) {
  double *out = NULL;
  int64_t rows = 0;
  for (int64_t i = 0; i < o->shard.images; i++) rows += !reap_split_holds_out(REAP_SPLIT_TENTH, i);
  CHECK_OK(reap_calloc(&out, (rows + extra) * columns, sizeof *out));
  for (int64_t c = 0; c < columns; c++) {
    means[c] = 0;
    for (int64_t i = 0, r = 0; i < o->shard.images; i++)
      if (!reap_split_holds_out(REAP_SPLIT_TENTH, i))
        means[c] += out[c * (rows + extra) + r++] = (double)values[i * columns + c];
    means[c] /= (double)rows;
    for (int64_t r = 0; r < rows; r++) out[c * (rows + extra) + r] -= means[c];
  }
  *fitted = rows;
  return out;
}

/* The classifier, which reads a row of features an image: rows of features, and below them one row of the ridge a
 * column, solved by reflections instead of normal equations. */
static void weights_are_least_squares(void) {
  reap_comm *one = NULL;
  CHECK_OK(reap_comm_split(test_comm(), test_rank() == 0 ? 0 : 1, &one));
  if (test_rank() == 0) {
    outcome o;
    int64_t count, rows = 0;
    double means_x[256], means_y[16], pull[256];
    run(one, &(setting){RESNET, "reap", true, 300, 4, 1, 3, true, false, 0}, &o);
    const int output = o.pruned->outputs[0], node = o.pruned->values[output].producer;
    const reap_node *fc = o.pruned->nodes[node], *old = o.network.graph->nodes[node];
    const reap_step_record *l = repair_of(&o, fc->layer);
    CU_ASSERT_PTR_NOT_NULL_FATAL(l);
    const reap_tensor *w = reap_node_constant(o.pruned, fc, 1), *b = reap_node_constant(o.pruned, fc, 2);
    const reap_tensor *w0 = reap_node_constant(o.network.graph, old, 1);
    const int64_t n = w->dims[1], m = w->dims[0];
    CU_ASSERT_TRUE_FATAL(l->changed && n <= 256 && m <= 16);
    float *x = values_of(o.pruned, fc->inputs[0], &o, &count), *y = values_of(o.network.graph, output, &o, &count);
    double *a = centred(&o, x, n, n, &rows, means_x), *t = centred(&o, y, m, n, &rows, means_y), *solved = NULL;
    CU_ASSERT_EQUAL(rows, l->samples);
    CHECK_OK(reap_alloc(&solved, n * m, sizeof *solved));
    for (int64_t c = 0; c < n; c++) {
      double energy = 0;
      for (int64_t r = 0; r < rows; r++) energy += a[c * (rows + n) + r] * a[c * (rows + n) + r];
      CU_ASSERT_TRUE_FATAL(energy > 0);
      pull[c] = sqrt(l->ridge * energy);
      a[c * (rows + n) + rows + c] = pull[c];
      for (int64_t j = 0; j < m && l->ridge_trained; j++)
        t[j * (rows + n) + rows + c] = pull[c] * (double)w0->f32[j * n + c];
    }
    householder(rows + n, n, m, a, t, solved);
    double largest = 0, difference = 0;
    for (int64_t j = 0; j < m; j++) {
      double bias = means_y[j];
      for (int64_t c = 0; c < n; c++) {
        largest = fmax(largest, fabs(solved[j * n + c]));
        difference = fmax(difference, fabs(solved[j * n + c] - (double)w->f32[j * n + c]));
        bias -= means_x[c] * solved[j * n + c];
      }
      CHECK_NEAR(bias, (double)b->f32[j], 1e-5 * (1 + fabs(bias)));
    }
    CU_ASSERT_TRUE(difference < 1e-5 * largest); /* stored as float32; the rows have a condition of some thousands */
    reap_free(&x);
    reap_free(&y);
    reap_free(&a);
    reap_free(&t);
    reap_free(&solved);
    clear(&o);
  }
  reap_comm_destroy(&one);
}

/* ---------------------------------------------------------------- what stays as it was */

/* Nine images, none of them held out: nothing speaks for new weights of a layer with fewer rows than columns. */
static void few_rows_change_nothing(void) {
  outcome o;
  run(test_comm(), &(setting){RESNET, "reap", true, 9, 1, 1, 3, true, false, 0}, &o);
  CU_ASSERT_EQUAL(reap_prune_count(&o.result, REAP_STEP_REPAIR), 3);
  for (int i = 0; i < reap_prune_count(&o.result, REAP_STEP_REPAIR); i++) {
    const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_REPAIR, i);
    CU_ASSERT_TRUE(l->few_samples && !l->changed);
    CU_ASSERT_EQUAL(l->relative_error, l->error_before);
    CU_ASSERT_TRUE(isnan(l->held_out_error) && isnan(l->held_out_before));
    CU_ASSERT_TRUE(has_old_weights(&o, net_layer(o.pruned, l->layer)));
  }
  clear(&o);
}

/* Whatever few images suggest: those held out do not pay for it. */
static void images_held_out_never_pay(void) {
  static const int64_t images[] = {10, 70};
  for (int k = 0; k < 2; k++) {
    outcome o;
    run(test_comm(), &(setting){RESNET, "reap", true, images[k], 1, 1, 0, true, false, 0}, &o);
    CU_ASSERT_EQUAL(reap_prune_count(&o.result, REAP_STEP_REPAIR), 11);
    for (int i = 0; i < reap_prune_count(&o.result, REAP_STEP_REPAIR); i++) {
      const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_REPAIR, i);
      CU_ASSERT_TRUE(l->held_out_error <= l->held_out_before);
      CU_ASSERT_EQUAL(has_old_weights(&o, net_layer(o.pruned, l->layer)), !l->changed);
    }
    clear(&o);
  }
}

/* Every group of the VGG network is pruned: its layers lose inputs, and the first one reads what has not changed. */
static void a_chain_that_is_pruned_throughout_needs_none(void) {
  outcome o;
  run(test_comm(), &(setting){VGG, "reap", true, 64, 4, 1, 0, true, false, 0}, &o);
  CU_ASSERT_EQUAL(reap_prune_count(&o.result, REAP_STEP_REPAIR), 0);
  CU_ASSERT_TRUE(has_old_weights(&o, net_layer(o.pruned, reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->group)));
  clear(&o);
}

static void weights_left_as_they_are_are_not_repaired(void) {
  outcome o;
  run(test_comm(), &(setting){RESNET, "l1", false, 64, 4, 1, 0, true, false, 0}, &o);
  CU_ASSERT_EQUAL(reap_prune_count(&o.result, REAP_STEP_REPAIR), 0);
  clear(&o);
}

static void repair_is_the_same_on_any_ranks(void) {
  check_any_ranks(&(setting){RESNET, "reap", true, 150, 8, 0, 5, true, false, 0});
  check_any_ranks(&(setting){VGG, "reap", true, 70, 4, 1, 1, true, false, 0}); /* nothing behind it */
}

const test_case test_cases[] = {
    {"only what has drifted is touched", only_what_has_drifted_is_touched},
    {"errors fall as reported", errors_fall_as_reported},
    {"weights are least squares", weights_are_least_squares},
    {"few rows change nothing", few_rows_change_nothing},
    {"images held out never pay", images_held_out_never_pay},
    {"a chain that is pruned throughout needs none", a_chain_that_is_pruned_throughout_needs_none},
    {"weights left as they are are not repaired", weights_left_as_they_are_are_not_repaired},
    {"repair is the same on any ranks", repair_is_the_same_on_any_ranks},
    {NULL, NULL}};
