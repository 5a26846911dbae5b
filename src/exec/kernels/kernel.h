/* Kernels: one operator on one block of images. Local.
 *
 * Values lie in storage order (layout.h). Everything is float32.
 *
 * A kernel is bound to a node by the table in operators.def. prepare() builds what does not depend on the images
 * (reordered weights, scratch); run() may then be called any number of times and never allocates.
 */
#ifndef REAP_EXEC_KERNELS_KERNEL_H
#define REAP_EXEC_KERNELS_KERNEL_H

#include <stdbool.h>

#include "exec/primitives/fusion.h"
#include "model/operators.h"
#include "model/operators/layout.h"
#include "reap/graph.h"
#include "reap/network.h"

typedef struct reap_kernel {
  /* Borrowed graph and node stay valid and unchanged while there is a state. *state is NULL before. It may stay NULL,
   * or becomes a block of reap_alloc(): the caller gives it back by reap_kernel_release(), also after an error. */
  int (*prepare)(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state);
  /* inputs[i] belongs to input slot i: NULL if absent or constant (kernels read constants from the graph). No input
   * shares memory with the output, unless the kernel is `in_place` and then only input 0 may. */
  int (*run)(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs, float *output);
  /* Gives back what a state, also an unfinished one, holds beside itself; NULL: nothing. */
  void (*destroy)(void **state);
  bool in_place; /* output may be input 0's own memory, where their shapes are equal */
  /* In place of prepare(), for kernels that can clamp and, if they are `adding`, add as well; NULL for all others. With
   * `add` run() takes the addend as inputs[n_inputs], which may be the output's own memory. Rounding is that of the
   * nodes one by one; but a NaN may come out as a bound, unlike that of a Relu. */
  int (*prepare_fused)(const reap_graph *graph, const reap_node *node, reap_backend backend, const reap_fusion *fusion,
                       void **state);
  bool adding;
} reap_kernel;

/* Kernel of an operator, or NULL if it exists in shape arithmetic only. */
const reap_kernel *reap_kernel_of(const reap_operator *op);

/* Gives back what prepare() left; NULL is fine. */
void reap_kernel_release(const reap_kernel *kernel, void **state);

/* A value's block from storage order to ONNX's own row-major order. */
void reap_storage_to_rows(const reap_value *value, const float *stored, float *rows);

#endif
