/* The network as a graph of nodes and values.
 *
 * A graph is made by a reader (src/io) with reap_graph_create() and the
 * reap_graph_add_* calls, in the order of the file, and then prepared once
 * with reap_graph_prepare(): shapes are inferred for a fixed batch (the
 * number of images in one block), shape arithmetic and constants are folded
 * away, batch normalisations that follow a linear layer are folded into it,
 * every node gets constants of its own. From then on all values have a
 * known shape and the nodes left are those to be computed, in topological order.
 *
 * The file's own form (which node holds a layer's weights, its batch norm) is
 * kept in reap_linear, so that the result of pruning can be written into the
 * user's own nodes; see surgery.h.
 *
 * All calls are local.
 */
#ifndef REAP_GRAPH_H
#define REAP_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"

REAP_API_BEGIN

/* Constant tensors: weights, biases and folded shape arithmetic. */
enum { REAP_MAX_RANK = 8 };

/* Inputs of a network, at most. */
enum { REAP_MOST_INPUTS = 16 };

/* Weights are float32; every integer and boolean type of ONNX is held as int64. What depends on the images is computed
 * in float32 whatever its type. */
typedef enum reap_dtype { REAP_F32, REAP_I64 } reap_dtype;

/* Types that weights are kept in. */
typedef enum reap_precision { REAP_FLOAT32, REAP_FLOAT16, REAP_BFLOAT16 } reap_precision;

typedef struct reap_tensor {
  reap_dtype dtype;
  int rank;
  int64_t dims[REAP_MAX_RANK];
  int64_t count;            /* product of dims; 1 for a scalar (rank 0) */
  reap_precision precision; /* of REAP_F32: the type that the network has them in; the values fit it */
  float *f32;               /* [count] row-major, owned, maybe shared, if dtype is REAP_F32 */
  int64_t *i64;             /* [count] row-major, owned, if dtype is REAP_I64 */
} reap_tensor;

typedef struct reap_name_table reap_name_table; /* see base/name_table.h */
typedef struct reap_operator reap_operator;     /* see operators.h */

typedef enum reap_attribute_kind {
  REAP_ATTRIBUTE_INT,
  REAP_ATTRIBUTE_FLOAT,
  REAP_ATTRIBUTE_STRING,
  REAP_ATTRIBUTE_INTS,
  REAP_ATTRIBUTE_FLOATS,
  REAP_ATTRIBUTE_TENSOR,
  REAP_ATTRIBUTE_OTHER /* a type no operator here reads: subgraphs and the like */
} reap_attribute_kind;

typedef struct reap_attribute {
  char *name;
  reap_attribute_kind kind;
  int64_t i;
  float f;
  char *s;
  int64_t count; /* of ints or floats */
  int64_t *ints;
  float *floats;
  reap_tensor *tensor;
} reap_attribute; /* all members owned */

/* What the user says of an output; else its form tells (see reap_network_set_output_kinds). */
typedef enum reap_output_said { REAP_OUTPUT_UNSAID, REAP_OUTPUT_IS_SCORES, REAP_OUTPUT_IS_VALUES } reap_output_said;

typedef struct reap_value {
  char *name;
  reap_dtype dtype;
  int rank;
  int64_t dims[REAP_MAX_RANK]; /* [batch, channels, height, width] in ONNX's order; valid after preparation */
  bool known;                  /* shape has been inferred */
  int channel_axis;            /* see layout.h */
  bool channels_last;          /* stored so; valid after preparation: see layout.h */
  reap_tensor *constant;       /* not NULL if the value is known before any image; owned */
  bool measured;               /* the constant was computed in the file from shapes of other values, which it follows */
  bool batch_known;            /* of a measured one, of 32 numbers at most: whether another batch was looked at */
  unsigned batch_entries;      /* bit i: its number i was another one then */
  bool charged;                /* the constant was made here, not read: it counts in held_bytes of the graph */
  int producer;                /* node that computes it, or -1 (network input, initialiser) */
  int n_readers, reader;       /* nodes that read it, each once, and the last of them; valid after preparation */
  bool is_input, is_output;    /* of the network */
  reap_output_said said;       /* of an output */
} reap_value;

/* Batch normalisation folded into the linear layer in front of it: y = scale (x - mean) / sqrt(var + epsilon) + bias.
 */
typedef struct reap_norm {
  int source; /* node of the file */
  int64_t channels;
  float epsilon;
  float *scale, *bias, *mean, *var; /* [channels] each, owned */
} reap_norm;

/* How a linear layer (Conv, Gemm, MatMul) is written in the file. Its computation form is always
 * weights [m, channels / groups, kh, kw] or [m, n] in input 1 and bias [m] in input 2 of the node. */
typedef struct reap_linear {
  int weight_node, weight_slot; /* file node and input that hold the weights */
  bool transposed;              /* the file holds [n, m] */
  float alpha, beta;            /* Gemm's factors of weights and bias; 1 otherwise */
  int bias_node, bias_slot;     /* file node and input that hold the bias; slot may be absent yet */
  bool bias_needs_add;          /* MatMul alone: a bias has to be written as an Add behind it */
  bool bias_present;            /* the file has a bias */
  int64_t idle_bias;            /* length of a bias in the file that Gemm's beta = 0 leaves out; 0 if there is none */
  reap_precision precision, bias_precision; /* types of the weights, and of the bias (the norm's, if there is one) */
  reap_norm *norm;                          /* NULL if none was folded; owned */
  float *raw_weights,
      *raw_bias; /* the file's weights and bias in computation layout, before `norm`; NULL without norm; owned */
  int64_t n_raw; /* number of raw_weights */
  bool changed;  /* cut or re-solved: has to be written anew */
} reap_linear;

typedef struct reap_node {
  const reap_operator *op;
  char *name;      /* as in the file; "" if it has none */
  char *layer;     /* name used in files and reports: see reap_graph_prepare */
  int source;      /* index of the node in the file's list */
  int part, parts; /* of as many nodes that one of the file became, which one: see reap_graph_add_node */
  int n_inputs, n_outputs;
  int *inputs, *outputs; /* values; -1 for an optional one left out */
  int n_attributes;
  reap_attribute *attributes;
  reap_linear *linear; /* of Conv, Gemm and MatMul with constant weights, after preparation; else NULL */
  bool fixed_shape;    /* a Flatten that the file writes as a Reshape to a fixed number of columns */
  bool gathers;        /* a Reshape that the file writes as a Gather of all numbers, in order, from a list of them */
  unsigned cut; /* constant inputs (bit k: input k) and attributes (the highest bit) that lost channels or count them,
                   and have to be written anew */
} reap_node;

typedef struct reap_graph {
  int n_values, capacity_values;
  reap_value *values;
  reap_name_table *names; /* of the values */
  int n_nodes, capacity_nodes;
  reap_node **nodes;
  int n_inputs, n_outputs;
  int *inputs, *outputs; /* values: network inputs that are not initialisers; network outputs */
  int64_t opset;         /* of the default domain */
  int64_t batch;         /* images per block, after preparation */
  bool mixes;            /* preparation failed as a node computes across the images of a batch */
  int64_t file_bytes, held_bytes,
      made_bytes; /* of constants: read, made here and held, made in all; they are limited */
} reap_graph;

int reap_graph_create(int64_t opset, reap_graph **out);
void reap_graph_destroy(reap_graph **graph);

/* A deep copy, owned by the caller. */
int reap_graph_clone(const reap_graph *graph, reap_graph **out);

/* Layer `node` of a prepared graph (Conv, Gemm, MatMul) as a network of its own for blocks of `images` images, with
 * copies of its weights: node 0, the only one. Owned by the caller. */
int reap_graph_extract(const reap_graph *graph, int node, int64_t images, reap_graph **out);

/* Building. Names are copied; `constant` and `attributes` (an array from reap_alloc, may be NULL) are taken over, also
 * on failure. A dimension of -1 is unknown. The index of the new value goes to *value (may be NULL). */
int reap_graph_add_constant(reap_graph *graph, const char *name, reap_tensor *constant, int *value);
int reap_graph_add_input(reap_graph *graph, const char *name, reap_dtype dtype, int rank, const int64_t *dims,
                         int *value);
/* Inputs are looked up by name ("" for one left out): REAP_ERR_INPUT if one is not defined yet or an output is defined
 * twice, or if the operator is not known. `source` is the node's index in the file. A Sum, Min or Max becomes a
 * chain of such of two tensors each, that of a single one an Identity. A node with several outputs that are all
 * computed (Split, TopK) becomes one for each, with `part` and `parts`; a list of sizes in its attributes then is
 * [those of the parts in front together, its own, those behind]. */
int reap_graph_add_node(reap_graph *graph, const char *op, const char *domain, const char *name, int source,
                        int n_inputs, char *const *inputs, int n_outputs, char *const *outputs, int n_attributes,
                        reap_attribute *attributes);
int reap_graph_add_output(reap_graph *graph, const char *name);

/* Value of that name, or -1. */
int reap_graph_find(const reap_graph *graph, const char *name);

/* Prepares for blocks of `batch` images (>= 1); see the top of this file. Layer names are set: the node's name without
 * its leading "/", other "/" as ".", or <op>_<index> where a node has none; made unique if need be.
 * REAP_ERR_INPUT names the node and the reason: an operator or a use of one that is not supported, shapes that do not
 * fit, weights that are not finite, nothing to compute. */
int reap_graph_prepare(reap_graph *graph, int64_t batch);

/* Shapes alone, for blocks of `batch` images: those of all values that a shape rule tells of, also where nodes are
 * folded away. The graph can only be asked for them and destroyed afterwards. */
int reap_graph_infer(reap_graph *graph, int64_t batch);

/* Infers shape and layout of what node `index` computes again, after its inputs or its weights were cut. */
int reap_graph_infer_node(reap_graph *graph, int index);

/* Images per block that suit the sizes of the activations: at most 64, fewer when one image's largest tensor is large.
 * Depends on the network only. The batch of the prepared graph does not matter. */
int64_t reap_graph_block_size(const reap_graph *graph);

/* Multiply-adds of convolutions and matrix products for one image; parameters (weights, biases, batch norms) that the
 * file holds for the nodes left. */
int64_t reap_graph_flops(const reap_graph *graph);
int64_t reap_graph_params(const reap_graph *graph);

/* Multiply-adds of node `index` for one image; 0 for other operators. */
int64_t reap_node_flops(const reap_graph *graph, int index);

/* Elements of the value for one block. */
int64_t reap_value_count(const reap_value *value);

/* Attribute look-ups with a default. */
const reap_attribute *reap_node_attribute(const reap_node *node, const char *name);
int64_t reap_node_int(const reap_node *node, const char *name, int64_t fallback);
float reap_node_float(const reap_node *node, const char *name, float fallback);
const char *reap_node_string(const reap_node *node, const char *name, const char *fallback);

/* "Conv /layer1/conv" for messages; valid until the fourth call after it in this thread. */
const char *reap_node_title(const reap_node *node);

/* Constant in input `slot`, or NULL if the input is absent or not constant. */
const reap_tensor *reap_node_constant(const reap_graph *graph, const reap_node *node, int slot);

/* Value in input or output `slot`, NULL if absent. */
reap_value *reap_node_input(const reap_graph *graph, const reap_node *node, int slot);
reap_value *reap_node_output(const reap_graph *graph, const reap_node *node, int slot);

REAP_API_END

#endif
