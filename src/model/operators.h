/* The table of operators: one entry each in operators.def. Local. */
#ifndef REAP_MODEL_OPERATORS_H
#define REAP_MODEL_OPERATORS_H

#include "reap/graph.h"
#include "tensor.h"

/* How channels pass through an operator; see groups.h. */
typedef enum reap_channel_rule {
  REAP_CHANNELS_OPAQUE,     /* not followed: what goes in or comes out keeps all its channels */
  REAP_CHANNELS_LINEAR,     /* a product with weights: channels end here and new ones begin */
  REAP_CHANNELS_TRANSPOSED, /* the same, with weights [inputs, outputs of a group]; never re-solved */
  REAP_CHANNELS_PASS,       /* output channel c depends on input channel c alone */
  REAP_CHANNELS_ALONG,      /* mixes what lies along some axes; passes channels along the others */
  REAP_CHANNELS_JOIN,       /* element-wise on several tensors: channel c of all of them is one */
  REAP_CHANNELS_NORM,       /* passes, with parameters for each channel or for groups of them */
  REAP_CHANNELS_CONCAT,     /* lists put behind each other */
  REAP_CHANNELS_SLICE,      /* part of the list */
  REAP_CHANNELS_PAD,        /* the list with empty channels around it */
  REAP_CHANNELS_RESHAPE,    /* the same elements in another shape */
  REAP_CHANNELS_GATHER,     /* some of the list, in any order */
  REAP_CHANNELS_BLOCKS,     /* pixels of a square become channels, or the other way round */
  REAP_CHANNELS_TRANSPOSE
} reap_channel_rule;

/* REAP_OP_Conv and so on: what an operator is known by. */
typedef enum reap_operator_id {
#define REAP_OPERATOR(name, ...) REAP_OP_##name,
#include "operators.def"
#undef REAP_OPERATOR
  REAP_OPERATORS /* their number */
} reap_operator_id;

struct reap_operator {
  const char *name;
  reap_operator_id id;
  int min_inputs, max_inputs; /* max_inputs -1: any number */
  reap_channel_rule channels;
  /* The float kernel is bound by src/exec from the same table; false for operators that exist in shape arithmetic only.
   */
  bool has_kernel;
};

/* Entry of that name in the default domain, or NULL. */
const reap_operator *reap_operator_find(const char *name);

/* True for Add and Sum; for Relu; for Softmax and LogSoftmax. */
static inline bool reap_operator_adds(const reap_operator *op) {
  return op->id == REAP_OP_Add || op->id == REAP_OP_Sum;
}
static inline bool reap_operator_rectifies(const reap_operator *op) { return op->id == REAP_OP_Relu; }
static inline bool reap_operator_normalises(const reap_operator *op) {
  return op->id == REAP_OP_Softmax || op->id == REAP_OP_LogSoftmax;
}

const reap_operator *reap_operator_at(reap_operator_id id);

#endif
