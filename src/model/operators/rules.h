/* Rules named in operators.def; private to src/model. */
#ifndef REAP_MODEL_RULES_H
#define REAP_MODEL_RULES_H

#include "model/node.h"
#include "model/operators.h"
#include "reap/graph.h"

/* What a line of operators.def binds an operator to. */
typedef struct reap_operator_rules {
  /* Shapes and types of the outputs from those of the inputs. */
  int (*shape)(reap_graph *graph, reap_node *node);
  /* Values of the outputs when all inputs are constant; NULL if the operator is never folded. */
  int (*fold)(reap_graph *graph, reap_node *node);
  /* Channel axis of output 0, or -1; see layout.h. Shapes are known. */
  int (*channel_axis)(const reap_graph *graph, const reap_node *node);
} reap_operator_rules;

const reap_operator_rules *reap_rules_of(const reap_operator *op);

int reap_shape_conv(reap_graph *graph, reap_node *node);
int reap_shape_gemm(reap_graph *graph, reap_node *node);
int reap_shape_matmul(reap_graph *graph, reap_node *node);
int reap_shape_same(reap_graph *graph, reap_node *node);
int reap_shape_cast(reap_graph *graph, reap_node *node);
int reap_shape_dropout(reap_graph *graph, reap_node *node);
int reap_shape_norm(reap_graph *graph, reap_node *node);
int reap_shape_normalisation(reap_graph *graph, reap_node *node);
int reap_shape_broadcast(reap_graph *graph, reap_node *node);
int reap_shape_conv_transposed(reap_graph *graph, reap_node *node);
int reap_shape_lrn(reap_graph *graph, reap_node *node);
int reap_shape_pool(reap_graph *graph, reap_node *node);
int reap_shape_global_pool(reap_graph *graph, reap_node *node);
int reap_shape_reduce(reap_graph *graph, reap_node *node);
int reap_shape_concat(reap_graph *graph, reap_node *node);
int reap_shape_slice(reap_graph *graph, reap_node *node);
int reap_shape_pad(reap_graph *graph, reap_node *node);
int reap_shape_flatten(reap_graph *graph, reap_node *node);
int reap_shape_reshape(reap_graph *graph, reap_node *node);
int reap_shape_squeeze(reap_graph *graph, reap_node *node);
int reap_shape_unsqueeze(reap_graph *graph, reap_node *node);
int reap_shape_transpose(reap_graph *graph, reap_node *node);
int reap_shape_gather(reap_graph *graph, reap_node *node);
int reap_shape_expand(reap_graph *graph, reap_node *node);
int reap_shape_tile(reap_graph *graph, reap_node *node);
int reap_shape_blocks(reap_graph *graph, reap_node *node);
int reap_shape_resize(reap_graph *graph, reap_node *node);
int reap_shape_compare(reap_graph *graph, reap_node *node);
int reap_shape_where(reap_graph *graph, reap_node *node);
int reap_shape_arg(reap_graph *graph, reap_node *node);
int reap_shape_top_k(reap_graph *graph, reap_node *node);
int reap_shape_constant(reap_graph *graph, reap_node *node);
int reap_shape_size_of(reap_graph *graph, reap_node *node);
int reap_shape_filled(reap_graph *graph, reap_node *node);
int reap_shape_folded(reap_graph *graph, reap_node *node);

#define reap_fold_none NULL
int reap_fold_identity(reap_graph *graph, reap_node *node);
/* The output as a copy of input 0 that the caller may write to. */
int reap_fold_onto(reap_graph *graph, reap_node *node, reap_tensor **out);
int reap_fold_copy(reap_graph *graph, reap_node *node);
int reap_fold_norm(reap_graph *graph, reap_node *node);
int reap_fold_elementwise(reap_graph *graph, reap_node *node);
int reap_fold_arithmetic(reap_graph *graph, reap_node *node);
int reap_fold_conv(reap_graph *graph, reap_node *node);
int reap_fold_concat(reap_graph *graph, reap_node *node);
int reap_fold_slice(reap_graph *graph, reap_node *node);
int reap_fold_transpose(reap_graph *graph, reap_node *node);
int reap_fold_gather(reap_graph *graph, reap_node *node);
int reap_fold_cast(reap_graph *graph, reap_node *node);
int reap_fold_range(reap_graph *graph, reap_node *node);
int reap_fold_clip(reap_graph *graph, reap_node *node);
int reap_fold_round(reap_graph *graph, reap_node *node);
int reap_fold_compare(reap_graph *graph, reap_node *node);
int reap_fold_not(reap_graph *graph, reap_node *node);
int reap_fold_mod(reap_graph *graph, reap_node *node);
int reap_fold_gather_nd(reap_graph *graph, reap_node *node);
int reap_fold_scatter_nd(reap_graph *graph, reap_node *node);
int reap_fold_tile(reap_graph *graph, reap_node *node);
int reap_fold_trilu(reap_graph *graph, reap_node *node);
int reap_fold_cum_sum(reap_graph *graph, reap_node *node);
int reap_fold_where(reap_graph *graph, reap_node *node);
int reap_fold_expand(reap_graph *graph, reap_node *node);
int reap_fold_reduce(reap_graph *graph, reap_node *node);

/* Helpers shared by shape and folding rules. */

/* Sets shape and type of output `slot`; dimensions are checked for overflow. */
int reap_set_shape(reap_graph *graph, const reap_node *node, int slot, reap_dtype dtype, int rank, const int64_t *dims);

/* Makes output 0 the constant `tensor` (taken over, also on failure) and sets its shape. It is charged: see
 * allowance.h. */
int reap_set_constant(reap_graph *graph, const reap_node *node, reap_tensor *tensor);

/* The int64 list in constant input `slot`, or in attribute `attribute` (older opsets), for axes, starts and the like.
 * *count is -1 if there is neither. Error if the input is not constant. The list is borrowed. */
int reap_node_int_list(const reap_graph *graph, const reap_node *node, int slot, const char *attribute,
                       const int64_t **list, int64_t *count);

/* Axis in 0 .. rank-1 from one that may be negative. */
int reap_node_axis(const reap_node *node, int64_t axis, int rank, int *out);

/* Broadcast shape of two shapes, or an error that names the node. */
int reap_broadcast_dims(const reap_node *node, int rank_a, const int64_t *a, int rank_b, const int64_t *b, int *rank,
                        int64_t *dims);

/* True for a BatchNormalization that takes mean and variance from what it normalises. */
bool reap_norm_trains(const reap_graph *graph, const reap_node *node);

/* True for a node that computes a linear layer, a product with constant weights; false for the product of two tensors
 * that depend on the images, or of one with a stack of matrices. Before the layers are collected (prepare/linear.h). */
bool reap_multiplies_weights(const reap_graph *graph, const reap_node *node);

#endif
