/* pooling: sizes and outputs of random windows against onnxruntime's (references/pools.txt). */
#include "one_node.h"

const char *const test_suite_name = "pooling";

/* A case as its line has it; see references/make_pools.py. */
typedef struct pool_case {
  char op[32], auto_pad[16];
  int64_t opset, size[2], kernel[2], strides[2], dilations[2], pads[4], ceil, counted, out[2];
  float output[64];
} pool_case;

static bool read_case(FILE *file, pool_case *c) {
  int64_t *const numbers[] = {&c->opset,   c->size,        &c->size[1],  c->kernel,        &c->kernel[1],
                              c->strides,  &c->strides[1], c->dilations, &c->dilations[1], c->pads,
                              &c->pads[1], &c->pads[2],    &c->pads[3]};
  long long number, rest[4];
  if (fscanf(file, "%31s", c->op) != 1) return false;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    CU_ASSERT_EQUAL_FATAL(fscanf(file, "%lld", &number), 1);
    *numbers[i] = number;
  }
  CU_ASSERT_EQUAL_FATAL(fscanf(file, "%15s %lld %lld %lld %lld", c->auto_pad, &rest[0], &rest[1], &rest[2], &rest[3]),
                        5);
  c->ceil = rest[0];
  c->counted = rest[1];
  c->out[0] = rest[2];
  c->out[1] = rest[3];
  CU_ASSERT_TRUE_FATAL(c->out[0] * c->out[1] <= 64);
  for (int64_t i = 0; i < c->out[0] * c->out[1]; i++) CU_ASSERT_EQUAL_FATAL(fscanf(file, "%f", &c->output[i]), 1);
  return true;
}

/* The node and its input; REAP_OK if there is an output. */
static int build(const pool_case *c, reap_graph **graph) {
  const int64_t dims[] = {1, 1, c->size[0], c->size[1]};
  const bool by_hand = strcmp(c->auto_pad, "NOTSET") == 0, average = strcmp(c->op, "AveragePool") == 0;
  reap_attribute *attributes = NULL, text = {.kind = REAP_ATTRIBUTE_STRING};
  CHECK_OK(reap_graph_create(c->opset, graph));
  CHECK_OK(reap_graph_add_input(*graph, "x", REAP_F32, 4, dims, NULL));
  CHECK_OK(reap_strdup(&text.name, "auto_pad"));
  CHECK_OK(reap_strdup(&text.s, c->auto_pad));
  CHECK_OK(reap_alloc(&attributes, 7, sizeof *attributes));
  int n = 0;
  attributes[n++] = text;
  attributes[n++] = ints_attribute("kernel_shape", 2, c->kernel);
  attributes[n++] = ints_attribute("strides", 2, c->strides);
  attributes[n++] = ints_attribute("dilations", 2, c->dilations);
  attributes[n++] = int_attribute("ceil_mode", c->ceil);
  if (by_hand) attributes[n++] = ints_attribute("pads", 4, c->pads);
  if (average) attributes[n++] = int_attribute("count_include_pad", c->counted);
  char x[] = "x", y[] = "y", *inputs[] = {x}, *outputs[] = {y};
  CHECK_OK(reap_graph_add_node(*graph, c->op, "", "pool", 0, 1, inputs, 1, outputs, n, attributes));
  CHECK_OK(reap_graph_add_output(*graph, "y"));
  return reap_graph_prepare(*graph, 1);
}

/* Dilated windows that reach beyond padding that counts are refused: runtimes and the ONNX reference differ. */
static bool is_ambiguous(const pool_case *c) {
  const bool by_hand = strcmp(c->auto_pad, "NOTSET") == 0;
  bool beyond = false;
  for (int i = 0; i < 2; i++) {
    const int64_t end = (c->out[i] - 1) * c->strides[i] + (c->kernel[i] - 1) * c->dilations[i] + 1;
    beyond |= c->dilations[i] > 1 && end > c->size[i] + (by_hand ? c->pads[i] + c->pads[2 + i] : 0);
  }
  return beyond && c->counted && strcmp(c->op, "AveragePool") == 0 && strncmp(c->auto_pad, "SAME", 4) != 0;
}

static bool run_case(const pool_case *c) {
  float image[49], output[64] = {0};
  reap_graph *graph = NULL;
  const bool wanted = c->out[0] > 0 && !is_ambiguous(c), found = build(c, &graph) == REAP_OK;
  bool right = wanted == found;
  if (wanted && found) {
    const reap_value *y = &graph->values[graph->outputs[0]];
    right = y->dims[2] == c->out[0] && y->dims[3] == c->out[1];
    const int64_t n = c->out[0] * c->out[1];
    for (int64_t i = 0; i < c->size[0] * c->size[1]; i++) image[i] = (float)(i * 37 % 64) / 8 - 4;
    const float *inputs[] = {image};
    if (right) run_node(graph, REAP_BACKEND_PLAIN, inputs, output);
    right = right && test_max_difference_f(c->output, output, n) <= 1e-6 * (double)largest_of(c->output, n);
  }
  reap_graph_destroy(&graph);
  return right;
}

static void windows_are_those_of_onnxruntime(void) {
  FILE *file = fopen(test_source_path("tests/references/pools.txt"), "r");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  pool_case c;
  int line = 0;
  for (; read_case(file, &c); line++) {
    const bool right = run_case(&c);
    if (!right) fprintf(stderr, "pools.txt:%d: %s is wrong: %s\n", line + 1, c.op, reap_error_message());
    CU_ASSERT_TRUE(right);
  }
  CU_ASSERT_TRUE(line >= 400);
  fclose(file);
}

const test_case test_cases[] = {{"windows are those of onnxruntime", windows_are_those_of_onnxruntime}, {NULL, NULL}};
