/* onnx_edit: edits reach the user's own nodes and tensors, and nothing else changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "io/onnx/source.h"
#include "model/tensor.h"
#include "onnx_builder.h"
#include "reap/api.h"

const char *const test_suite_name = "onnx_edit";

static reap_tensor *new_tensor(int rank, const int64_t *dims, float value) {
  reap_tensor *tensor = NULL;
  CHECK_OK(reap_tensor_create(REAP_F32, rank, dims, &tensor));
  for (int64_t i = 0; tensor && i < tensor->count; i++) tensor->f32[i] = value;
  return tensor;
}

static void tensors_of_one_user_are_replaced(void) {
  const int64_t narrow[2] = {4, 3}, narrow_next[2] = {3, 4};
  begin_model(8);
  add_weights("w", 2, SQUARE)->doc_string = text("mine");
  add_weights("v", 2, SQUARE);
  add_node("MatMul", "first", "x w", "h");
  add_node("MatMul", "second", "h v", "y");
  infos[graph.n_value_info++] = make_info("h", 2, VECTOR);
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 0, 1, new_tensor(2, narrow, 2)));
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 1, 1, new_tensor(2, narrow_next, 3)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(m->graph->n_initializer, 2);
  const ReapOnnx__TensorProto *w = find(m, "w");
  CU_ASSERT_TRUE(w && w->n_dims == 2 && w->dims[0] == 4 && w->dims[1] == 3 && first(w) == 2);
  CU_ASSERT_TRUE(w && w->doc_string && strcmp(w->doc_string, "mine") == 0);
  CU_ASSERT_EQUAL(first(find(m, "v")), 3);
  CU_ASSERT_EQUAL(m->graph->n_value_info, 0);
  CU_ASSERT_STRING_EQUAL(m->producer_name, "reap");
  CU_ASSERT_STRING_EQUAL(m->producer_version, REAP_VERSION);
  CU_ASSERT_EQUAL_FATAL(m->n_metadata_props, 2);
  CU_ASSERT_STRING_EQUAL(m->metadata_props[0]->key, "reap");
  CU_ASSERT_STRING_EQUAL(m->metadata_props[0]->value, REAP_VERSION);
  CU_ASSERT_STRING_EQUAL(m->metadata_props[1]->key, "reap.made_from");
  CU_ASSERT_STRING_EQUAL(m->metadata_props[1]->value, "somebody");
  done(m);
}

static void shared_tensors_stay_for_the_others(void) {
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_node("MatMul", "/a/first", "x w", "h");
  add_node("MatMul", "/a/second", "h w", "g");
  add_node("MatMul", "", "g w", "y");
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 1, 1, new_tensor(2, SQUARE, 2)));
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 2, 1, new_tensor(2, SQUARE, 3)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(first(find(m, "w")), -0.5f);
  CU_ASSERT_EQUAL(first(find(m, "w_a.second")), 2);
  CU_ASSERT_EQUAL(first(find(m, "w_MatMul_2")), 3);
  CU_ASSERT_STRING_EQUAL(m->graph->node[1]->input[1], "w_a.second");
  done(m);
}

static void copies_through_identity_are_split(void) {
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_node("Identity", "copy", "w", "w2");
  add_node("Identity", "copy_of_copy", "w2", "w3");
  add_node("MatMul", "first", "x w", "h");
  add_node("MatMul", "second", "h w3", "y");
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 3, 1, new_tensor(2, SQUARE, 2)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(m->graph->n_node, 2); /* nothing reads the copies any more */
  CU_ASSERT_EQUAL(first(find(m, "w")), -0.5f);
  CU_ASSERT_EQUAL(first(find(m, "w3_second")), 2);
  done(m);
}

static void identity_with_other_readers_stays(void) {
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_node("Identity", "copy", "w", "w2");
  add_node("MatMul", "first", "x w2", "h");
  add_node("MatMul", "second", "h w2", "y");
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 2, 1, new_tensor(2, SQUARE, 2)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(m->graph->n_node, 3);
  CU_ASSERT_EQUAL(first(find(m, "w")), -0.5f);
  CU_ASSERT_STRING_EQUAL(m->graph->node[1]->input[1], "w2");
  done(m);
}

static void constant_nodes_are_replaced(void) {
  begin_model(8);
  add_value_attribute(add_node("Constant", "c", "", "w"),
                      make_tensor("", REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 2, SQUARE));
  add_node("MatMul", "first", "x w", "y");
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 1, 1, new_tensor(2, SQUARE, 2)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(m->graph->n_node, 1);
  CU_ASSERT_EQUAL(first(find(m, "w_first")), 2);
  done(m);
}

static void tensors_that_nobody_read_before_stay(void) {
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_weights("idle", 2, SQUARE);
  add_node("Identity", "copy", "w", "w2");
  add_node("MatMul", "first", "x w2", "y");
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 1, 1, new_tensor(2, SQUARE, 2)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(m->graph->n_node, 1);
  CU_ASSERT_PTR_NULL(find(m, "w"));
  CU_ASSERT_PTR_NOT_NULL(find(m, "idle"));
  CU_ASSERT_PTR_NOT_NULL(find(m, "w2_first"));
  done(m);
}

/* An If whose branch reads tensors of the network around it. */
static void add_if(const char *condition, const char *captured, const char *out) {
  ReapOnnx__NodeProto *node = add_node("If", "choice", condition, out), *inner;
  ReapOnnx__AttributeProto *attribute = take(sizeof *attribute);
  reap_onnx__attribute_proto__init(attribute);
  attribute->name = text("then_branch");
  attribute->has_type = 1;
  attribute->type = REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
  attribute->g = take(sizeof *attribute->g);
  reap_onnx__graph_proto__init(attribute->g);
  inner = add_node("Add", "within", captured, "z");
  graph.n_node--; /* it belongs into the branch */
  attribute->g->node = take(sizeof inner);
  attribute->g->node[0] = inner;
  attribute->g->n_node = 1;
  node->attribute = take(sizeof attribute);
  node->attribute[0] = attribute;
  node->n_attribute = 1;
}

/* A left-over head of operators that are not known here, with an input and initialisers of its own. What others read of
 * it stays, and the nodes left keep the places, and so the names, that they have in the file. */
static void unused_nodes_are_left_out(void) {
  const int64_t one[1] = {1};
  begin_model(3);
  const char *const weights[] = {"w", "w_if", "w_both", "w_head", "unread"};
  for (int i = 0; i < 5; i++) {
    add_weights(weights[i], 2, SQUARE);
    inputs[graph.n_input++] = make_info(weights[i], 2, SQUARE);
  }
  inputs[graph.n_input++] = make_info("labels", 1, one);
  add_node("MatMul", "", "x w", "h");
  add_node("Nonsense", "loss", "h labels w_head", "l");
  add_if("l", "w_if w_both", "m");
  add_node("Relu", "", "m", "n");
  add_node("Dropout", "drop", "h", "d mask"); /* one of two outputs is used */
  add_node("MatMul", "", "d w_both", "y");
  infos[graph.n_value_info++] = make_info("l", 2, VECTOR);
  infos[graph.n_value_info++] = make_info("h", 2, VECTOR);
  finish_model();
  reap_source *source = NULL;
  reap_graph *net = NULL;
  CHECK_OK(reap_source_load(store_model("unused.onnx"), &source));
  CU_ASSERT_EQUAL_FATAL(reap_source_unused_count(source), 3);
  CU_ASSERT_STRING_EQUAL(reap_source_unused_node(source, 0), "Nonsense loss");
  CU_ASSERT_STRING_EQUAL(reap_source_unused_node(source, 2), "Relu (node 3)");
  CHECK_OK(reap_source_graph(source, &net));
  CHECK_OK(reap_graph_prepare(net, 1));
  CU_ASSERT_EQUAL(net->n_inputs, 1);
  CU_ASSERT_EQUAL_FATAL(net->n_nodes, 2);
  CU_ASSERT_STRING_EQUAL(net->nodes[1]->layer, "MatMul_5");
  CHECK_OK(reap_source_write_onnx(source, test_scratch_path("used.onnx")));
  reap_graph_destroy(&net);
  reap_source_destroy(&source);
  bytes b = read_bytes(test_scratch_path("used.onnx"));
  ReapOnnx__ModelProto *m = reap_onnx__model_proto__unpack(NULL, b.size, b.data);
  free(b.data);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  CU_ASSERT_EQUAL(m->graph->n_node, 3);
  CU_ASSERT_EQUAL(m->graph->n_initializer, 3);
  CU_ASSERT_TRUE(find(m, "w") && find(m, "w_both") && find(m, "unread"));
  CU_ASSERT_EQUAL(m->graph->n_input, 5); /* these, x, and labels: a program that passes them may go on */
  CU_ASSERT_EQUAL_FATAL(m->graph->n_value_info, 1);
  CU_ASSERT_STRING_EQUAL(m->graph->value_info[0]->name, "h");
  done(m);
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 5, 1, new_tensor(2, SQUARE, 2)));
  m = apply(&edits);
  CU_ASSERT_EQUAL(first(find(m, "w_both")), 2);
  CU_ASSERT_EQUAL(first(find(m, "w")), -0.5f);
  done(m);
  CHECK_OK(reap_source_load(store_model("unused.onnx"), &source));
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 1, 1, new_tensor(2, SQUARE, 2)));
  CHECK_FAILS(reap_source_apply(source, &edits, NULL), REAP_ERR_INTERNAL, "node 1");
  reap_edits_clear(&edits);
  reap_source_destroy(&source);
}

static void a_bias_is_added(void) {
  const int64_t row[1] = {4};
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_weights("layer.bias", 1, row); /* the obvious name is taken */
  add_node("Gemm", "layer", "x w", "h");
  add_node("Add", "sum", "h layer.bias", "y");
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 0, 2, new_tensor(1, row, 2)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(m->graph->node[0]->n_input, 3);
  CU_ASSERT_EQUAL(first(find(m, m->graph->node[0]->input[2])), 2);
  CU_ASSERT_EQUAL(first(find(m, "layer.bias")), -0.5f);
  done(m);
}

static void an_add_is_put_behind(void) {
  const int64_t row[1] = {4};
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_node("MatMul", "/head", "x w", "h");
  add_node("Relu", "relu", "h", "g");
  add_node("MatMul", "last", "g w", "y"); /* its output is the network's */
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_ADD, 0, 0, new_tensor(1, row, 2)));
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_ADD, 2, 0, new_tensor(1, row, 3)));
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 2, 1, new_tensor(2, SQUARE, 4)));
  ReapOnnx__ModelProto *m = apply(&edits);
  ReapOnnx__NodeProto **n = m->graph->node;
  CU_ASSERT_EQUAL_FATAL(m->graph->n_node, 5);
  CU_ASSERT_STRING_EQUAL(n[1]->op_type, "Add");
  CU_ASSERT_STRING_EQUAL(n[1]->input[0], n[0]->output[0]);
  CU_ASSERT_STRING_EQUAL(n[1]->output[0], "h");
  CU_ASSERT_STRING_EQUAL(n[4]->output[0], "y");
  CU_ASSERT_EQUAL(first(find(m, n[1]->input[1])), 2);
  CU_ASSERT_EQUAL(first(find(m, n[4]->input[1])), 3);
  CU_ASSERT_EQUAL(first(find(m, n[3]->input[1])), 4);
  done(m);
}

static int64_t listed_rows(const ReapOnnx__ModelProto *m, const char *name) {
  for (size_t i = 0; i < m->graph->n_input; i++)
    if (strcmp(m->graph->input[i]->name, name) == 0)
      return m->graph->input[i]->type->tensor_type->shape->dim[0]->dim_value;
  return -1;
}

/* Up to IR version 3 every initialiser is listed as an input. */
static void listed_inputs_follow(void) {
  const int64_t wide[2] = {4, 6}, tall[2] = {6, 4};
  begin_model(3);
  add_weights("w", 2, SQUARE);
  add_weights("v", 2, SQUARE);
  add_node("Identity", "copy", "v", "v2");
  add_node("MatMul", "first", "x w", "h");
  add_node("MatMul", "second", "h v2", "y");
  inputs[graph.n_input++] = make_info("w", 2, SQUARE);
  inputs[graph.n_input++] = make_info("v", 2, SQUARE);
  finish_model();
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 1, 1, new_tensor(2, wide, 2)));
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 2, 1, new_tensor(2, tall, 2)));
  ReapOnnx__ModelProto *m = apply(&edits);
  CU_ASSERT_EQUAL(listed_rows(m, "w"), 4);
  CU_ASSERT_EQUAL(listed_rows(m, "v2_second"), 6);
  CU_ASSERT_EQUAL(listed_rows(m, "v"), -1);
  CU_ASSERT_EQUAL(m->graph->n_input, 3);
  done(m);
}

/* Turns a tensor of zeros and its kind into 16 bits. */
static ReapOnnx__TensorProto *halve(ReapOnnx__TensorProto *tensor, int32_t type) {
  tensor->data_type = type;
  tensor->raw_data.len /= 2;
  memset(tensor->raw_data.data, 0, tensor->raw_data.len);
  return tensor;
}

static void add_cast(const char *name, const char *in, const char *out, int64_t type) {
  ReapOnnx__NodeProto *node = add_node("Cast", name, in, out);
  add_value_attribute(node, NULL);
  node->attribute[0]->name = text("to");
  node->attribute[0]->type = REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  node->attribute[0]->has_i = 1;
  node->attribute[0]->i = type;
}

static bool is_half(const ReapOnnx__TensorProto *tensor, int32_t type, uint16_t wanted) {
  uint16_t bits = 0;
  if (tensor && tensor->raw_data.len >= 2) memcpy(&bits, tensor->raw_data.data, 2);
  return tensor && tensor->data_type == type && bits == wanted && tensor->raw_data.len % 2 == 0;
}

/* In place, copied from a shared one, from a Constant, behind a Cast, in an Add and as a new bias. */
static void halves_stay_halves(void) {
  static const int32_t f16 = REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16,
                       b16 = REAP_ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
  static const int64_t row[1] = {4};
  for (int brain = 0; brain < 2; brain++) {
    const int32_t type = brain ? b16 : f16;
    const uint16_t two = 0x4000 /* in both */, third = brain ? 0x3eab : 0x3555;
    begin_model(8);
    add_cast("in", "x", "x2", type);
    halve(add_weights("w", 2, SQUARE), type);
    halve(add_weights("shared", 2, SQUARE), type);
    add_weights("wide", 2, SQUARE);
    add_value_attribute(add_node("Constant", "constant", "", "c"),
                        halve(make_tensor("", REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 2, SQUARE), type));
    add_cast("narrow", "wide", "v", type);
    add_node("MatMul", "a", "x2 w", "h1"); /* node 3 */
    add_node("MatMul", "b", "h1 shared", "h2");
    add_node("MatMul", "c", "h2 shared", "h3");
    add_node("MatMul", "d", "h3 c", "h4");
    add_node("Gemm", "e", "h4 v", "h5"); /* node 7 */
    add_cast("out", "h5", "y", REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    finish_model();
    reap_edits edits = {0, 0, NULL};
    for (int node = 3; node < 8; node++)
      if (node != 4) CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, node, 1, new_tensor(2, SQUARE, 1.0f / 3)));
    CHECK_OK(reap_edits_add(&edits, REAP_EDIT_ADD, 3, 0, new_tensor(1, row, 2)));
    CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 7, 2, new_tensor(1, row, 2)));
    ReapOnnx__ModelProto *m = apply(&edits);
    const char *const weights[] = {"w", "shared_c", "c_d", "v_e"}, *const biases[] = {"a.bias", "e.bias"};
    for (int i = 0; i < 4; i++) CU_ASSERT_TRUE(is_half(find(m, weights[i]), type, third));
    for (int i = 0; i < 2; i++) CU_ASSERT_TRUE(is_half(find(m, biases[i]), type, two));
    CU_ASSERT_TRUE(is_half(find(m, "shared"), type, 0));
    CU_ASSERT_PTR_NULL(find(m, "wide")); /* nothing reads it any more */
    done(m);
  }
}

static void numbers_too_large_for_halves_are_refused(void) {
  begin_model(8);
  halve(add_weights("tiny", 2, SQUARE), REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16);
  add_node("MatMul", "first", "x tiny", "y");
  finish_model();
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(store_model("large.onnx"), &source));
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 0, 1, new_tensor(2, SQUARE, 65520)));
  CHECK_FAILS(reap_source_apply(source, &edits, NULL), REAP_ERR_NUMERIC,
              "tensor \"tiny\": 65520 does not fit its type, float16");
  reap_edits_clear(&edits);
  reap_source_destroy(&source);
}

static void edits_out_of_range_are_refused(void) {
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_node("MatMul", "first", "x w", "y");
  finish_model();
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(store_model("range.onnx"), &source));
  reap_edits edits = {0, 0, NULL};
  CHECK_OK(reap_source_apply(source, &edits, NULL));
  CHECK_OK(reap_edits_add(&edits, REAP_EDIT_INPUT, 1, 1, new_tensor(2, SQUARE, 2)));
  CHECK_FAILS(reap_source_apply(source, &edits, NULL), REAP_ERR_INTERNAL, "node 1");
  reap_edits_clear(&edits);
  reap_source_destroy(&source);
}

const test_case test_cases[] = {{"tensors_of_one_user_are_replaced", tensors_of_one_user_are_replaced},
                                {"shared_tensors_stay_for_the_others", shared_tensors_stay_for_the_others},
                                {"copies_through_identity_are_split", copies_through_identity_are_split},
                                {"identity_with_other_readers_stays", identity_with_other_readers_stays},
                                {"constant_nodes_are_replaced", constant_nodes_are_replaced},
                                {"tensors_that_nobody_read_before_stay", tensors_that_nobody_read_before_stay},
                                {"unused_nodes_are_left_out", unused_nodes_are_left_out},
                                {"a_bias_is_added", a_bias_is_added},
                                {"an_add_is_put_behind", an_add_is_put_behind},
                                {"listed_inputs_follow", listed_inputs_follow},
                                {"halves_stay_halves", halves_stay_halves},
                                {"numbers_too_large_for_halves_are_refused", numbers_too_large_for_halves_are_refused},
                                {"edits_out_of_range_are_refused", edits_out_of_range_are_refused},
                                {NULL, NULL}};
