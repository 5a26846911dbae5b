/* Parameters of Resize and Upsample, resolved; shared by shapes and kernels. Local. */
#ifndef REAP_MODEL_RESIZING_H
#define REAP_MODEL_RESIZING_H

#include <stdbool.h>

#include "reap/graph.h"

typedef enum reap_resize_mode { REAP_RESIZE_NEAREST, REAP_RESIZE_LINEAR, REAP_RESIZE_CUBIC } reap_resize_mode;

/* Where output position i lies among the input's: by ONNX's names. */
typedef enum reap_resize_place {
  REAP_HALF_PIXEL,
  REAP_HALF_PIXEL_SYMMETRIC,
  REAP_PYTORCH_HALF_PIXEL,
  REAP_ALIGN_CORNERS,
  REAP_ASYMMETRIC,
  REAP_TF_HALF_PIXEL_FOR_NN
} reap_resize_place;

/* Which neighbour is the nearest. SIMPLE is that of opset 10: the one in front, or the one behind of fewer pixels. */
typedef enum reap_resize_rounding {
  REAP_ROUND_PREFER_FLOOR,
  REAP_ROUND_PREFER_CEIL,
  REAP_ROUND_FLOOR,
  REAP_ROUND_CEIL,
  REAP_ROUND_SIMPLE
} reap_resize_rounding;

typedef struct reap_resize {
  int rank;
  int64_t in[REAP_MAX_RANK], out[REAP_MAX_RANK];
  float scale[REAP_MAX_RANK]; /* as places are computed by; 1: the axis stays */
  reap_resize_mode mode;
  reap_resize_place place;
  reap_resize_rounding rounding;
  float cubic_a;
  bool exclude_outside; /* cubic: pixels outside the image have no weight */
} reap_resize;

/* REAP_ERR_INPUT names the node: scales or sizes that are not constant, a mode that is not supported. */
int reap_resize_resolve(const reap_graph *graph, const reap_node *node, reap_resize *resize);

#endif
