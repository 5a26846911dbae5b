/* Views of images, and networks run over them; see views.h. Cost: a forward pass of every view. Memory: the values of
 * one block of images. */
#include "views.h"

#include <string.h>

#include "base/random.h"
#include "image_blocks.h"
#include "plan.h"
#include "reap/error.h"
#include "reap/memory.h"

static const float SHARE = 0.2F; /* of the other image */
enum { SHIFT = 8 };              /* by up to one over this */

struct reap_view_runner {
  const reap_views *views;
  const reap_graph *graph;
  reap_plan *plan;
  float **storage; /* [n_values] */
  int n, *values;
  float **rows;        /* [n] */
  float *read, *other; /* one image each: the largest of the inputs */
};

/* ------------------------------------------------------------------ images */

/* Height and width of one stored image, and its other axes. */
typedef struct picture {
  int64_t height, width, others[2];
  int64_t row, column, steps[2]; /* their strides */
} picture;

/* False if the input has no such axes. */
static bool is_picture(const reap_value *x, picture *p) {
  const bool last = x->rank >= 4 && x->dims[x->rank - 1] <= 4 && x->dims[x->rank - 2] > 4;
  const int width = x->rank - (last ? 2 : 1);
  int64_t strides[REAP_MAX_RANK];
  if (x->rank < 4 || x->rank > 5) return false;
  reap_storage_strides(x, strides);
  *p = (picture){x->dims[width - 1], x->dims[width], {1, 1}, strides[width - 1], strides[width], {0, 0}};
  for (int axis = 1, k = 0; axis < x->rank; axis++) {
    if (axis == width || axis == width - 1) continue;
    p->others[k] = x->dims[axis];
    p->steps[k++] = strides[axis];
  }
  return true;
}

/* Pixel `at` of a line, which comes from there in the original. */
static int64_t source(int64_t at, int64_t length, int64_t shift, bool flip) {
  const int64_t from = at + shift < 0 ? 0 : at + shift >= length ? length - 1 : at + shift;
  return flip ? length - 1 - from : from;
}

static void move(const picture *p, bool flip, int64_t down, int64_t right, const float *from, float *to) {
  for (int64_t y = 0; y < p->height; y++)
    for (int64_t x = 0; x < p->width; x++) {
      const float *in =
          from + source(y, p->height, down, false) * p->row + source(x, p->width, right, flip) * p->column;
      float *out = to + y * p->row + x * p->column;
      for (int64_t i = 0; i < p->others[0]; i++)
        for (int64_t k = 0; k < p->others[1]; k++)
          out[i * p->steps[0] + k * p->steps[1]] = in[i * p->steps[0] + k * p->steps[1]];
    }
}

/* Flipped and shifted, the same way in all inputs. */
static int read_moved(const reap_view_runner *r, int input, unsigned view, int64_t row, float *out) {
  const reap_views *v = r->views;
  const int64_t image = v->indices[row];
  picture p;
  if (!(view & (REAP_VIEW_FLIPS | REAP_VIEW_SHIFTS)) || !is_picture(&r->graph->values[r->graph->inputs[input]], &p))
    return reap_images_read(r->graph, input, v->images, image, 1, out);
  const int64_t down = p.height / SHIFT, right = p.width / SHIFT;
  const bool shift = view & REAP_VIEW_SHIFTS;
  reap_random random = reap_random_init(v->seed, reap_random_key("views"), (uint64_t)image);
  const int64_t by[] = {reap_random_below(&random, 2 * down + 1) - down,
                        reap_random_below(&random, 2 * right + 1) - right};
  REAP_TRY(reap_images_read(r->graph, input, v->images, image, 1, r->read));
  move(&p, view & REAP_VIEW_FLIPS, shift ? by[0] : 0, shift ? by[1] : 0, r->read, out);
  return REAP_OK;
}

static int read_view(const reap_view_runner *r, int input, unsigned view, int64_t row, int64_t size, float *out) {
  const int64_t next = (row + 1) % r->views->shard.images;
  REAP_TRY(read_moved(r, input, view, row, out));
  if (!(view & REAP_VIEW_MIXES)) return REAP_OK;
  REAP_TRY(read_moved(r, input, view, next, r->other));
  for (int64_t i = 0; i < size; i++) out[i] += SHARE * (r->other[i] - out[i]);
  return REAP_OK;
}

/* ------------------------------------------------------------------ networks */

static int allocate(reap_view_runner *r) {
  const reap_graph *graph = r->graph;
  int64_t most = 0;
  REAP_TRY(reap_calloc(&r->storage, graph->n_values, sizeof *r->storage));
  REAP_TRY(reap_calloc(&r->rows, r->n, sizeof *r->rows));
  for (int k = 0; k < graph->n_inputs; k++) {
    const int64_t size = reap_images_size(graph, k);
    if (most < size) most = size;
    REAP_TRY(reap_alloc(&r->storage[graph->inputs[k]], graph->batch * size, sizeof(float)));
  }
  for (int k = 0; k < r->n; k++) {
    float **storage = &r->storage[r->values[k]];
    const int64_t count = reap_value_count(&graph->values[r->values[k]]);
    if (!*storage) REAP_TRY(reap_alloc(storage, count, sizeof **storage));
    REAP_TRY(reap_alloc(&r->rows[k], count, sizeof **r->rows));
  }
  REAP_TRY(reap_alloc(&r->read, most, sizeof *r->read));
  return reap_alloc(&r->other, most, sizeof *r->other);
}

static int plan(reap_view_runner *r, reap_backend backend) {
  int *nodes = NULL, status;
  bool *kept = NULL;
  REAP_TRY(reap_alloc(&nodes, r->graph->n_nodes, sizeof *nodes));
  status = reap_calloc(&kept, r->graph->n_values, sizeof *kept);
  for (int i = 0; i < r->graph->n_nodes; i++) nodes[i] = i;
  for (int k = 0; kept && k < r->n; k++) kept[r->values[k]] = true;
  if (status == REAP_OK) status = reap_plan_create(r->graph, nodes, r->graph->n_nodes, kept, backend, &r->plan);
  reap_free(&nodes);
  reap_free(&kept);
  return status;
}

int reap_view_runner_create(const reap_views *views, const reap_graph *graph, int n, const int *values,
                            reap_backend backend, reap_view_runner **out, const float **rows) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  **out = (reap_view_runner){.views = views, .graph = graph, .n = n};
  int status = reap_alloc(&(*out)->values, n, sizeof *values);
  if (status == REAP_OK) memcpy((*out)->values, values, (size_t)n * sizeof *values);
  if (status == REAP_OK) status = allocate(*out);
  if (status == REAP_OK) status = plan(*out, backend);
  for (int k = 0; status == REAP_OK && k < n; k++) rows[k] = (*out)->rows[k];
  if (status != REAP_OK) reap_view_runner_destroy(out);
  return status;
}

void reap_view_runner_destroy(reap_view_runner **runner) {
  reap_view_runner *r = *runner;
  if (!r) return;
  reap_plan_destroy(&r->plan);
  for (int v = 0; r->storage && v < r->graph->n_values; v++) reap_free(&r->storage[v]);
  for (int k = 0; r->rows && k < r->n; k++) reap_free(&r->rows[k]);
  reap_free(&r->storage);
  reap_free(&r->rows);
  reap_free(&r->values);
  reap_free(&r->read);
  reap_free(&r->other);
  reap_free(runner);
}

int reap_view_runner_run(reap_view_runner *r, unsigned view, int64_t block, int64_t *first, int64_t *count) {
  reap_shard_block(&r->views->shard, block, first, count);
  for (int k = 0; k < r->graph->n_inputs; k++) {
    const int64_t size = reap_images_size(r->graph, k);
    float *input = r->storage[r->graph->inputs[k]];
    for (int64_t i = 0; i < *count; i++) REAP_TRY(read_view(r, k, view, *first + i, size, input + i * size));
    for (int64_t i = *count; i < r->graph->batch; i++) /* the tail is padded with the last one */
      memcpy(input + i * size, input + (*count - 1) * size, (size_t)size * sizeof *input);
  }
  REAP_TRY(reap_plan_run(r->plan, r->storage));
  for (int k = 0; k < r->n; k++)
    reap_storage_to_rows(&r->graph->values[r->values[k]], r->storage[r->values[k]], r->rows[k]);
  return REAP_OK;
}
