/* Folding of a convolution of a constant: embeddings of positions are made so. The sums are written out, in double
 * precision; they count as numbers made, which limits their time: see allowance.h. */
#include "folding.h"
#include "geometry.h"
#include "model/allowance.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"

/* Output channel `o` at a position; the image is [channels, depth, height, width]. */
static double sum_at(const reap_window *w, const float *image, const float *weights, int64_t o, int64_t oz, int64_t oy,
                     int64_t ox) {
  const int64_t depth = w->channels / w->groups, first = o / (w->outputs / w->groups) * depth;
  const float *weight = weights + o * depth * reap_window_taps(w);
  double sum = 0;
  for (int64_t c = first; c < first + depth; c++)
    for (int64_t kz = 0, z = oz * w->stride_z - w->pad_front; kz < w->kernel_z; kz++, z += w->dilation_z)
      for (int64_t ky = 0, y = oy * w->stride_y - w->pad_top; ky < w->kernel_y; ky++, y += w->dilation_y)
        for (int64_t kx = 0, x = ox * w->stride_x - w->pad_left; kx < w->kernel_x; kx++, x += w->dilation_x, weight++)
          if (z >= 0 && z < w->depth && y >= 0 && y < w->height && x >= 0 && x < w->width)
            sum += (double)*weight * (double)image[((c * w->depth + z) * w->height + y) * w->width + x];
  return sum;
}

int reap_fold_conv(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0), *weights = reap_node_constant(graph, node, 1),
                    *bias = reap_node_constant(graph, node, 2);
  reap_window w;
  reap_tensor *t = NULL;
  int64_t work = 0;
  REAP_TRY(reap_conv_window(graph, node, &w));
  if (x->dtype != REAP_F32 || weights->dtype != REAP_F32 ||
      (bias && (bias->dtype != REAP_F32 || bias->count != w.outputs)))
    return reap_node_error(node, "its constants are not float32 numbers for each output");
  const int64_t positions = reap_window_positions(&w);
  const int64_t factors[] = {w.batch, positions, weights->count, (int64_t)sizeof(float)};
  if (reap_product(factors, 4, &work) != REAP_OK) return reap_node_error(node, "its constants are too large");
  REAP_TRY(reap_graph_charge_work(graph, node, work));
  REAP_TRY(reap_fold_output(graph, node, REAP_F32, &t));
  for (int64_t i = 0; i < t->count; i++) {
    const int64_t p = i % positions, o = i / positions % w.outputs, n = i / positions / w.outputs;
    const float *image = x->f32 + n * w.channels * reap_window_pixels(&w);
    const double sum = sum_at(&w, image, weights->f32, o, p / w.out_width / w.out_height,
                              p / w.out_width % w.out_height, p % w.out_width);
    t->f32[i] = (float)(sum + (bias ? (double)bias->f32[o] : 0));
  }
  return reap_set_constant(graph, node, t);
}
