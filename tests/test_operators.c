/* Functions of one number and of two, normalisations and products of stacks of matrices, against formulas in double
 * precision; where images may lie. */
#include <stdio.h>

#include "one_node.h"
#include "reap/error.h"

const char *const test_suite_name = "operators";

/* ---------------------------------------------------------------- functions of one number */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double unit(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
static double negated(double x) { return -x; }
static double reciprocal(double x) { return 1 / x; }
static double hard_sigmoid(double x) { return unit(0.2 * x + 0.5); }
static double hard_swish(double x) { return x * unit(x / 6 + 0.5); }
static double leaky_relu(double x) { return x < 0 ? 0.01 * x : x; }
static double elu(double x) { return x > 0 ? x : expm1(x); }
static double selu(double x) { return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * expm1(x)); }
static double celu(double x) { return x > 0 ? x : 2 * expm1(x / 2); }
static double softplus(double x) { return x > 50 ? x : log1p(exp(x)); }
static double softsign(double x) { return isinf(x) ? NAN : x / (1 + fabs(x)); }
static double mish(double x) { return x * tanh(softplus(x)); }
static double gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }
static double gelu_tanh(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))); }

typedef struct function {
  const char *op;
  double (*formula)(double x);
  double slack; /* error beside that of rounding the result, relative to 1 */
  const char *attribute, *text;
  float number;
} function;

static const function functions[] = {
    {"Abs", fabs, 0, NULL, NULL, 0},
    {"Neg", negated, 0, NULL, NULL, 0},
    {"Reciprocal", reciprocal, 0, NULL, NULL, 0},
    {"Sqrt", sqrt, 0, NULL, NULL, 0},
    {"Exp", exp, 0, NULL, NULL, 0},
    {"Log", log, 1e-7, NULL, NULL, 0},
    {"Sin", sin, 1e-7, NULL, NULL, 0},
    {"Cos", cos, 1e-7, NULL, NULL, 0},
    {"Erf", erf, 0, NULL, NULL, 0},
    {"Tanh", tanh, 0, NULL, NULL, 0},
    {"Sigmoid", sigmoid, 1e-30, NULL, NULL, 0},
    {"HardSigmoid", hard_sigmoid, 2e-7, NULL, NULL, 0},
    {"HardSwish", hard_swish, 1e-6, NULL, NULL, 0},
    {"LeakyRelu", leaky_relu, 0, NULL, NULL, 0},
    {"Elu", elu, 0, NULL, NULL, 0},
    {"Selu", selu, 0, NULL, NULL, 0},
    {"Celu", celu, 0, "alpha", NULL, 2},
    {"Softplus", softplus, 0, NULL, NULL, 0},
    {"Softsign", softsign, 0, NULL, NULL, 0},
    {"Mish", mish, 1e-30, NULL, NULL, 0},
    {"Gelu", gelu, 1e-6, NULL, NULL, 0},
    {"Gelu", gelu_tanh, 1e-6, "approximate", "tanh", 0},
};

static reap_attribute named_attribute(const function *f) {
  reap_attribute a = {.kind = f->text ? REAP_ATTRIBUTE_STRING : REAP_ATTRIBUTE_FLOAT, .f = f->number};
  CHECK_OK(reap_strdup(&a.name, f->attribute));
  if (f->text) CHECK_OK(reap_strdup(&a.s, f->text));
  return a;
}

/* Numbers of all sizes, those that are none, and many of the size that activations have. */
static float number_at(int64_t i, reap_random *random) {
  static const float special[] = {0,     -0.0f,  INFINITY, -INFINITY, NAN,    1e-42f, -1e-42f, 1e-30f, -1e-30f,
                                  1e30f, -1e30f, 88.0f,    -88.0f,    -104.f, 20.0f,  -20.0f,  6.0f,   -3.0f};
  const int64_t n = (int64_t)(sizeof special / sizeof special[0]);
  return i < n ? special[i] : (float)(reap_random_normal(random) * (i % 3 == 0 ? 0.01 : i % 3 == 1 ? 1 : 12));
}

static bool agrees(double wanted, float found, double slack) {
  const float rounded = (float)wanted;
  if (isnan(wanted)) return isnan(found);
  if (isinf(rounded)) return (double)found == (double)rounded || fabs((double)found) > 3.4e38;
  return fabs(wanted - (double)found) <= 5e-7 * fabs(wanted) + slack + 3e-45;
}

static void check_function(const function *f, int64_t count, reap_random *random) {
  const int64_t dims[] = {-1, count};
  reap_graph *graph = NULL;
  CHECK_OK(reap_graph_create(20, &graph));
  CHECK_OK(reap_graph_add_input(graph, "x", REAP_F32, 2, dims, NULL));
  char x[] = "x", *inputs[] = {x};
  const reap_attribute attribute = f->attribute ? named_attribute(f) : (reap_attribute){0};
  finish_graph(graph, f->op, 1, inputs, f->attribute ? 1 : 0, &attribute, 1);
  float *in = NULL, *out = NULL;
  CHECK_OK(reap_alloc(&in, count, sizeof *in));
  CHECK_OK(reap_calloc(&out, count, sizeof *out));
  for (int64_t i = 0; i < count; i++) in[i] = number_at(i, random);
  const float *blocks[] = {in};
  run_node(graph, REAP_BACKEND_PLAIN, blocks, out);
  for (int64_t i = 0; i < count; i++) {
    const double size = fmin(fmax(1, fabs((double)in[i])), 1e30);
    if (agrees(f->formula((double)in[i]), out[i], f->slack * size)) continue;
    printf("  %s of %.9g is %.9g, not %.9g\n", f->op, (double)in[i], (double)out[i], f->formula((double)in[i]));
    CU_FAIL("a function is not its formula");
  }
  reap_free(&in);
  reap_free(&out);
  reap_graph_destroy(&graph);
}

static void functions_are_their_formulas(void) {
  reap_random random = reap_random_init(21, 1, 1);
  for (size_t k = 0; k < sizeof functions / sizeof functions[0]; k++)
    for (int64_t count = 1; count < 5000; count = 3 * count + 2) check_function(&functions[k], count, &random);
}

/* ---------------------------------------------------------------- tensors of several axes */

static void unravel(int64_t i, int rank, const int64_t *dims, int64_t *index) {
  for (int axis = rank - 1; axis >= 0; axis--) {
    index[axis] = i % dims[axis];
    i /= dims[axis];
  }
}

/* Row-major place in a tensor of fewer axes, or of some of one element, of what stands at index[rank] of another. */
static int64_t broadcast_at(const int64_t *index, int rank, int rank_in, const int64_t *dims_in) {
  int64_t at = 0;
  for (int k = 0; k < rank_in; k++) at = at * dims_in[k] + (dims_in[k] > 1 ? index[rank - rank_in + k] : 0);
  return at;
}

/* One node on inputs "x" and "z" of the graph, everything in row-major order; z may be none. */
typedef struct run {
  const reap_value *x, *z, *y;
  float *in, *other, *out;
} run;

static run run_rows(const reap_graph *graph, reap_random *random) {
  run r = {.x = &graph->values[reap_graph_find(graph, "x")], .y = &graph->values[reap_graph_find(graph, "y")]};
  const int z = reap_graph_find(graph, "z");
  if (z >= 0) r.z = &graph->values[z];
  const float *blocks[8] = {NULL};
  float *stored[2] = {NULL, NULL}, *y = random_block(reap_value_count(r.y), random);
  for (int k = 0; k < (r.z ? 2 : 1); k++) {
    const reap_value *value = k == 0 ? r.x : r.z;
    float **rows = k == 0 ? &r.in : &r.other;
    stored[k] = random_block(reap_value_count(value), random);
    *rows = random_block(reap_value_count(value), random);
    reap_storage_to_rows(value, stored[k], *rows);
  }
  const reap_node *node = graph->nodes[0];
  for (int k = 0; k < node->n_inputs; k++)
    blocks[k] = node->inputs[k] == z ? stored[1] : graph->values[node->inputs[k]].constant ? NULL : stored[0];
  run_node(graph, REAP_BACKEND_PLAIN, blocks, y);
  r.out = random_block(reap_value_count(r.y), random);
  reap_storage_to_rows(r.y, y, r.out);
  reap_free(&stored[0]);
  reap_free(&stored[1]);
  reap_free(&y);
  return r;
}

static void clear(run *r, reap_graph *graph) {
  reap_free(&r->in);
  reap_free(&r->other);
  reap_free(&r->out);
  reap_graph_destroy(&graph);
}

static reap_graph *graph_of(int64_t opset, int rank, const int64_t *dims) {
  reap_graph *graph = NULL;
  CHECK_OK(reap_graph_create(opset, &graph));
  CHECK_OK(reap_graph_add_input(graph, "x", REAP_F32, rank, dims, NULL));
  return graph;
}

/* ---------------------------------------------------------------- functions of two numbers */

static double pair(const char *op, double a, double b) {
  if (strcmp(op, "Pow") == 0) return pow(a, b);
  if (strcmp(op, "PRelu") == 0) return a < 0 ? a * b : a;
  if (isnan(a) || isnan(b)) return NAN;
  return strcmp(op, "Min") == 0 ? fmin(a, b) : fmax(a, b);
}

/* x with a constant of fewer axes, or with an input of as many of which some have one element. */
static void check_pair(const char *op, bool computed, reap_random *random) {
  const int rank = (int)draw(random, 2, 5), rank_in = computed ? rank : (int)draw(random, 0, rank);
  int64_t dims[5], dims_in[5], index[5];
  for (int i = 0; i < rank; i++) dims[i] = draw(random, 1, 6);
  for (int i = 0; i < rank_in; i++) dims_in[i] = draw(random, 0, 1) ? dims[rank - rank_in + i] : 1;
  if (computed) dims_in[0] = dims[0];
  reap_graph *graph = graph_of(13, rank, dims);
  if (computed)
    CHECK_OK(reap_graph_add_input(graph, "z", REAP_F32, rank_in, dims_in, NULL));
  else
    add_constant(graph, "c", rank_in, dims_in, random);
  char x[] = "x", z[] = "z", c[] = "c", *inputs[] = {x, computed ? z : c};
  finish_graph(graph, op, 2, inputs, 0, NULL, dims[0]);
  const reap_tensor *constant = reap_node_constant(graph, graph->nodes[0], 1);
  run r = run_rows(graph, random);
  for (int64_t i = 0; i < reap_value_count(r.y); i++) {
    unravel(i, rank, dims, index);
    const float b = (computed ? r.other : constant->f32)[broadcast_at(index, rank, rank_in, dims_in)];
    CU_ASSERT_TRUE(agrees(pair(op, (double)r.in[i], (double)b), r.out[i], 0));
  }
  clear(&r, graph);
}

static void functions_of_two_are_broadcast(void) {
  static const char *const ops[] = {"Pow", "PRelu", "Min", "Max"};
  reap_random random = reap_random_init(22, 1, 1);
  for (int i = 0; i < 200; i++) check_pair(ops[i % 4], i % 8 >= 4, &random);
}

/* Squares, roots, an exponent of integers; a NaN on either side. */
static void powers_and_bounds_of_special_numbers(void) {
  const int64_t dims[] = {1, 6}, one = 1;
  const float in[] = {-2, 0, 4, INFINITY, NAN, -INFINITY}, exponents[] = {2, 0.5f, 3, -1, 0};
  float out[6];
  const float *blocks[] = {in};
  for (int k = 0; k < 12; k++) {
    static const char *const bounds[] = {"Min", "Max"};
    const char *op = k < 6 ? "Pow" : bounds[k % 2];
    const float c = k < 5 ? exponents[k] : k == 5 ? 3 : k < 8 ? NAN : k < 10 ? 1 : -INFINITY;
    reap_graph *graph = graph_of(13, 2, dims);
    reap_tensor *t = NULL;
    CHECK_OK(reap_tensor_create(k == 5 ? REAP_I64 : REAP_F32, k % 2, &one, &t));
    if (k == 5)
      t->i64[0] = 3;
    else
      t->f32[0] = c;
    CHECK_OK(reap_graph_add_constant(graph, "c", t, NULL));
    char x[] = "x", name[] = "c", *inputs[] = {x, name};
    finish_graph(graph, op, 2, inputs, 0, NULL, 1);
    run_node(graph, REAP_BACKEND_PLAIN, blocks, out);
    for (int i = 0; i < 6; i++) CU_ASSERT_TRUE(agrees(pair(op, (double)in[i], (double)c), out[i], 0));
    reap_graph_destroy(&graph);
  }
}

/* ---------------------------------------------------------------- normalisations */

static const char *const norms[] = {"LayerNormalization", "RMSNormalization", "GroupNormalization",
                                    "InstanceNormalization"};

/* What an element shares its mean with, as a place in a tensor of the input's size. */
static int64_t cell_of(int kind, int axis, int64_t group, int rank, const int64_t *dims, int64_t *index) {
  int64_t cell = 0;
  for (int i = 0; i < rank; i++) {
    int64_t at = index[i];
    if (kind < 2 ? i >= axis : i >= 2) at = 0;
    if (kind == 2 && i == 1) at = index[1] / group;
    cell = cell * dims[i] + at;
  }
  return cell;
}

static double parameter(const reap_tensor *t, int kind, int64_t group, int rank, const int64_t *index) {
  if (kind < 2) return t ? (double)t->f32[broadcast_at(index, rank, t->rank, t->dims)] : 0;
  return (double)t->f32[kind == 2 && group > 0 ? index[1] / group : index[1]];
}

static void compare_norm(const reap_graph *graph, const run *r, int kind, int axis, int64_t group, bool of_groups) {
  const int64_t count = reap_value_count(r->x);
  const int rank = r->x->rank;
  const reap_tensor *scale = reap_node_constant(graph, graph->nodes[0], 1),
                    *bias = reap_node_constant(graph, graph->nodes[0], 2);
  double *sum = NULL, *square = NULL, *number = NULL, worst = 0;
  int64_t index[5];
  CHECK_OK(reap_calloc(&sum, count, sizeof *sum));
  CHECK_OK(reap_calloc(&square, count, sizeof *square));
  CHECK_OK(reap_calloc(&number, count, sizeof *number));
  for (int pass = 0; pass < 3; pass++)
    for (int64_t i = 0; i < count; i++) {
      unravel(i, rank, r->x->dims, index);
      const int64_t c = cell_of(kind, axis, group, rank, r->x->dims, index), shared = of_groups ? group : 0;
      const double mean = kind == 1 || pass == 0 ? 0 : sum[c] / number[c], d = (double)r->in[i] - mean;
      if (pass == 0) sum[c] += d, number[c]++;
      if (pass == 1) square[c] += d * d;
      if (pass < 2) continue;
      const double y = d / sqrt(square[c] / number[c] + 1e-3) * parameter(scale, kind, shared, rank, index) +
                       parameter(bias, kind, shared, rank, index);
      worst = fmax(worst, fabs(y - (double)r->out[i]));
    }
  CHECK_NEAR(worst, 0, 1e-5);
  reap_free(&sum);
  reap_free(&square);
  reap_free(&number);
}

static reap_attribute float_attribute(const char *name, float value) {
  reap_attribute a = {.kind = REAP_ATTRIBUTE_FLOAT, .f = value};
  CHECK_OK(reap_strdup(&a.name, name));
  return a;
}

static void check_norm(int kind, bool new_form, reap_random *random) {
  const int rank = (int)draw(random, kind < 2 ? 2 : 3, 5), axis = (int)draw(random, 1, rank - 1);
  int64_t dims[5], shape[5];
  for (int i = 0; i < rank; i++) dims[i] = draw(random, 1, i == rank - 1 ? 21 : 6);
  const int64_t groups = draw(random, 1, 3), group = kind == 2 ? draw(random, 1, 4) : 0;
  if (kind == 2) dims[1] = groups * group;
  const bool of_groups = kind == 2 && !new_form;
  int n = 1;
  shape[0] = of_groups ? groups : dims[1];
  if (kind < 2) { /* fewer axes than are normalised, or some of one element */
    n = (int)draw(random, 1, rank - axis);
    for (int i = 0; i < n; i++) shape[i] = draw(random, 0, 3) ? dims[rank - n + i] : 1;
  }
  reap_graph *graph = graph_of(kind == 2 && !new_form ? 18 : 23, rank, dims);
  add_constant(graph, "s", n, shape, random);
  add_constant(graph, "b", n, shape, random);
  const bool bias = kind >= 2 || (kind == 0 && new_form);
  char x[] = "x", s[] = "s", b[] = "b", *inputs[] = {x, s, b};
  const reap_attribute attributes[] = {
      float_attribute("epsilon", 1e-3f),
      kind < 2 ? int_attribute("axis", new_form ? axis - rank : axis) : int_attribute("num_groups", groups)};
  finish_graph(graph, norms[kind], bias ? 3 : 2, inputs, 2, attributes, dims[0]);
  run r = run_rows(graph, random);
  compare_norm(graph, &r, kind, axis, group, of_groups);
  clear(&r, graph);
}

static void normalisations_are_right(void) {
  reap_random random = reap_random_init(23, 1, 1);
  for (int i = 0; i < 320; i++) check_norm(i % 4, i % 8 >= 4, &random);
}

static void misfits_are_refused(void) {
  static const char *const wanted[] = {"is not a constant of float32", "has 4 numbers along an axis of 5",
                                       "do not make 4 groups", "is not a constant of 6"};
  const int64_t dims[] = {-1, 6, 5}, four = 4, wide[] = {1, 1, 1, 1};
  for (int k = 0; k < 4; k++) {
    reap_random random = reap_random_init(24, 1, 1);
    reap_graph *graph = graph_of(21, 3, dims);
    add_constant(graph, "s", k == 0 ? 4 : 1, k == 0 ? wide : &four, &random);
    char x[] = "x", s[] = "s", y[] = "y", *inputs[] = {x, s, s}, *outputs[] = {y};
    reap_attribute *attributes = NULL;
    CHECK_OK(reap_alloc(&attributes, 1, sizeof *attributes));
    attributes[0] = int_attribute(k < 2 ? "axis" : "num_groups", k < 2 ? -1 : k == 2 ? 4 : 3);
    CHECK_OK(reap_graph_add_node(graph, norms[k < 2 ? 0 : 2], "", "node", 0, 3, inputs, 1, outputs, 1, attributes));
    CHECK_OK(reap_graph_add_output(graph, "y"));
    CHECK_FAILS(reap_graph_prepare(graph, 2), REAP_ERR_INPUT, wanted[k]);
    reap_graph_destroy(&graph);
  }
}

/* ---------------------------------------------------------------- products of stacks of matrices */

static void check_product(bool constant, reap_random *random) {
  const int rank = (int)draw(random, constant ? 2 : 3, 5), rank_b = constant ? (int)draw(random, 3, 5) : rank;
  const int more = rank > rank_b ? rank : rank_b;
  const int64_t batch = constant ? 1 : 2, depth = draw(random, 1, 9);
  int64_t a[5], b[5], y[5], index[5];
  for (int i = 0; i < more; i++) y[i] = draw(random, 1, 5);
  for (int i = 0; i < rank; i++) a[i] = draw(random, 0, 2) ? y[more - rank + i] : 1;
  for (int i = 0; i < rank_b; i++) b[i] = draw(random, 0, 2) ? y[more - rank_b + i] : 1;
  a[rank - 2] = y[more - 2], a[rank - 1] = b[rank_b - 2] = depth, b[rank_b - 1] = y[more - 1];
  a[0] = batch;
  if (rank_b >= rank) b[0] = batch;
  y[more - 2] = a[rank - 2];
  for (int i = 0; i < more - 2; i++) { /* broadcast */
    const int64_t da = i >= more - rank ? a[i - (more - rank)] : 1,
                  db = i >= more - rank_b ? b[i - (more - rank_b)] : 1;
    y[i] = da > db ? da : db;
  }
  reap_graph *graph = graph_of(13, rank, a);
  if (constant)
    add_constant(graph, "c", rank_b, b, random);
  else
    CHECK_OK(reap_graph_add_input(graph, "z", REAP_F32, rank_b, b, NULL));
  char x[] = "x", z[] = "z", c[] = "c", *inputs[] = {x, constant ? c : z};
  finish_graph(graph, "MatMul", 2, inputs, 0, NULL, batch);
  const reap_tensor *t = reap_node_constant(graph, graph->nodes[0], 1);
  run r = run_rows(graph, random);
  CU_ASSERT_TRUE(reap_same_dims(r.y->rank, r.y->dims, more, y));
  double worst = 0;
  for (int64_t i = 0; i < reap_value_count(r.y); i++) {
    unravel(i, more, y, index);
    double sum = 0;
    const int64_t row = index[more - 2], column = index[more - 1];
    for (int64_t k = 0; k < depth; k++) {
      index[more - 2] = row, index[more - 1] = k;
      const double left = (double)r.in[broadcast_at(index, more, rank, r.x->dims)];
      index[more - 2] = k, index[more - 1] = column;
      sum += left * (double)(t ? t->f32 : r.other)[broadcast_at(index, more, rank_b, t ? t->dims : r.z->dims)];
    }
    worst = fmax(worst, fabs(sum - (double)r.out[i]));
  }
  CHECK_NEAR(worst, 0, 1e-5);
  clear(&r, graph);
}

static void products_of_stacks_are_right(void) {
  reap_random random = reap_random_init(25, 1, 1);
  for (int i = 0; i < 200; i++) check_product(i % 2, &random);
}

/* ---------------------------------------------------------------- where images may lie */

static void add_ints(reap_graph *graph, const char *name, int64_t count, const int64_t *ints) {
  reap_tensor *tensor = NULL;
  CHECK_OK(reap_tensor_from_ints(ints, count, &tensor));
  CHECK_OK(reap_graph_add_constant(graph, name, tensor, NULL));
}

static void add_node(reap_graph *graph, const char *op, const char *input, const char *constant, const char *output,
                     const reap_attribute *attribute) {
  reap_attribute *owned = NULL;
  char *inputs[2] = {NULL, NULL}, *outputs[1] = {NULL};
  CHECK_OK(reap_strdup(&inputs[0], input));
  CHECK_OK(reap_strdup(&inputs[1], constant ? constant : ""));
  CHECK_OK(reap_strdup(&outputs[0], output));
  CHECK_OK(reap_alloc(&owned, 1, sizeof *owned));
  if (attribute) owned[0] = *attribute;
  CHECK_OK(reap_graph_add_node(graph, op, "", output, 0, 2, inputs, 1, outputs, attribute ? 1 : 0, owned));
  reap_free(&inputs[0]);
  reap_free(&inputs[1]);
  reap_free(&outputs[0]);
}

/* x [N, 3, 4] with the images behind axis 0 and in front again. In between is `op` along axis 0 (positions), 1 (images)
 * or 2 of [3, N, 4]; with `torn` a Reshape that tears the images. */
static int prepare_moved(int64_t batch, const char *op, int axis, bool back, bool *mixes) {
  const int64_t dims[] = {-1, 3, 4}, permutation[] = {1, 0, 2}, form[] = {3, -1}, split[] = {3, -1, 4};
  reap_graph *graph = graph_of(13, 3, dims);
  const reap_attribute there = ints_attribute("perm", 3, permutation), again = ints_attribute("perm", 3, permutation),
                       along = int_attribute("axis", axis);
  add_ints(graph, "form", 2, form);
  add_ints(graph, "split", 3, split);
  add_node(graph, "Transpose", "x", NULL, "t", &there);
  add_node(graph, op, "t", NULL, "s", &along);
  add_node(graph, "Reshape", "s", "form", "r", NULL); /* [3, N * 4]: each image's four stay together */
  add_node(graph, "Reshape", "r", "split", "u", NULL);
  add_node(graph, "Transpose", "u", NULL, "y", &again);
  CHECK_OK(reap_graph_add_output(graph, back ? "y" : "u"));
  const int status = reap_graph_prepare(graph, batch);
  *mixes = graph->mixes;
  reap_graph_destroy(&graph);
  return status;
}

static void images_may_move_but_not_meet(void) {
  bool mixes;
  CHECK_OK(prepare_moved(1, "Softmax", 0, true, &mixes));
  CHECK_FAILS(prepare_moved(2, "Softmax", 0, true, &mixes), REAP_ERR_INPUT, "blocks of one image only");
  CU_ASSERT_FALSE(mixes);
  CHECK_FAILS(prepare_moved(2, "Softmax", 2, true, &mixes), REAP_ERR_INPUT, "blocks of one image only");
  CU_ASSERT_FALSE(mixes);
  CHECK_FAILS(prepare_moved(2, "Softmax", 1, true, &mixes), REAP_ERR_INPUT, "mixes the images");
  CU_ASSERT_TRUE(mixes);
}

const test_case test_cases[] = {{"functions_are_their_formulas", functions_are_their_formulas},
                                {"functions_of_two_are_broadcast", functions_of_two_are_broadcast},
                                {"powers_and_bounds_of_special_numbers", powers_and_bounds_of_special_numbers},
                                {"normalisations_are_right", normalisations_are_right},
                                {"misfits_are_refused", misfits_are_refused},
                                {"products_of_stacks_are_right", products_of_stacks_are_right},
                                {"images_may_move_but_not_meet", images_may_move_but_not_meet},
                                {NULL, NULL}};
