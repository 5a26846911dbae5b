/* Gathers rows of X and Y as float64; see rows.h.
 *
 * Tap by tap, whole runs of rows come from im2col as they lie. Of some channels a row costs about two moves of its
 * columns, where the product with a panel of w columns costs w multiply-adds a column: some percent from w = 300 on. A
 * matrix product's rows (a layer behind a Flatten) lie ready in the images' values and are only widened.
 */
#include "rows.h"

#include "exec/primitives/im2col.h"
#include "reap/error.h"
#include "reap/memory.h"

int64_t reap_rows_capacity(int64_t bytes, int64_t columns, int64_t least) {
  const int64_t rows = bytes / (int64_t)sizeof(double) / columns;
  return rows < least ? least : rows;
}

int reap_rows_create(const reap_samples *samples, int64_t slots, const int64_t *channel, int64_t outputs,
                     int64_t capacity, reap_rows *r) {
  const reap_layer *layer = &samples->layer;
  int64_t size_x = 0, size_y = 0;
  *r = (reap_rows){.slots = slots, .capacity = capacity, .outputs = outputs, .held = -1};
  r->columns = slots > 0 ? slots * layer->block : layer->n;
  REAP_TRY(reap_cursor_create(samples, &r->cursor));
  REAP_TRY(reap_multiply(capacity, r->columns, &size_x));
  REAP_TRY(reap_multiply(capacity, outputs, &size_y));
  REAP_TRY(reap_alloc(&r->channel, slots, sizeof *r->channel));
  REAP_TRY(reap_alloc(&r->x, size_x, sizeof *r->x));
  REAP_TRY(reap_alloc(&r->y, size_y, sizeof *r->y));
  REAP_TRY(reap_alloc(&r->patch, layer->n, sizeof *r->patch));
  for (int64_t k = 0; k < slots; k++) r->channel[k] = channel ? channel[k] : k;
  return REAP_OK;
}

int reap_rows_open(const reap_samples *s, int64_t slots, const int64_t *channel, int64_t outputs, reap_rows *rows) {
  const int64_t images = reap_samples_blocks(s) * s->shard.block;
  const int64_t all = images < 1 ? 1 : images * reap_samples_per_image(s);
  const int64_t most = reap_rows_capacity(REAP_ROWS_BYTES, slots * s->layer.block + outputs, 16);
  return reap_rows_create(s, slots, channel, outputs, most < all ? most : all, rows);
}

void reap_rows_clear(reap_rows *r) {
  reap_cursor_clear(&r->cursor);
  reap_free(&r->channel);
  reap_free(&r->x);
  reap_free(&r->y);
  reap_free(&r->patch);
}

/* ------------------------------------------------------------------ one piece */

/* Rows of a matrix product: columns c * block + t of the file become t * channels + c. */
static void matrix_by_tap(const reap_layer *layer, const reap_piece *p, double *to) {
  const int64_t step = reap_row_step(&layer->rows_x);
  for (int64_t r = 0; r < p->count; r++, to += layer->n) {
    const float *from = p->x + reap_row_start(&layer->rows_x, layer->n, reap_piece_position(p, r));
    for (int64_t t = 0; t < layer->block; t++)
      for (int64_t c = 0; c < layer->channels; c++)
        to[t * layer->channels + c] = (double)from[(c * layer->block + t) * step];
  }
}

/* The slots' columns of one position, from slot walk.first on. */
static void take_slots(const reap_rows *rows, const float *image, int64_t position, double *to) {
  const reap_layer *layer = &rows->cursor.samples.layer;
  const int64_t b = layer->block;
  if (layer->convolution) { /* patches lie tap by tap */
    reap_im2col_rows_f32(&layer->window, image, 0, layer->channels, 1, &position, 0, rows->patch);
    for (int64_t k = rows->walk.first; k < rows->slots; k++)
      for (int64_t t = 0; t < b; t++) to[k * b + t] = (double)rows->patch[rows->channel[k] + t * layer->channels];
    return;
  }
  const float *from = image + reap_row_start(&layer->rows_x, layer->n, position);
  const int64_t step = reap_row_step(&layer->rows_x);
  for (int64_t k = rows->walk.first; k < rows->slots; k++)
    for (int64_t t = 0; t < b; t++) to[k * b + t] = (double)from[(rows->channel[k] * b + t) * step];
}

static void take_x(const reap_rows *rows, const reap_piece *p, double *to) {
  const reap_layer *layer = &rows->cursor.samples.layer;
  if (rows->slots == 0 && layer->convolution)
    reap_im2col_rows_f64(&layer->window, p->x, 0, layer->channels, p->count, p->positions, p->first, to);
  else if (rows->slots == 0)
    matrix_by_tap(layer, p, to);
  else
    for (int64_t r = 0; r < p->count; r++) take_slots(rows, p->x, reap_piece_position(p, r), to + r * rows->columns);
}

static void widen(const float *from, int64_t step, int64_t count, double *to) {
  if (step == 1)
    for (int64_t j = 0; j < count; j++) to[j] = (double)from[j];
  else
    for (int64_t j = 0; j < count; j++) to[j] = (double)from[j * step];
}

static void take_y(const reap_rows *rows, const reap_piece *p, double *to) {
  const reap_layer *layer = &rows->cursor.samples.layer;
  const int64_t step = reap_row_step(&layer->rows_y), count = rows->walk.y_count;
  for (int64_t r = 0; r < p->count; r++, to += count)
    widen(p->y + reap_row_start(&layer->rows_y, layer->m, reap_piece_position(p, r)) + rows->walk.y_first * step, step,
          count, to);
}

/* ------------------------------------------------------------------ the walk */

/* Over all rows in the sums. */
static bool walks_all(const reap_rows *r) {
  return r->walk.part == REAP_IN_SUMS && r->walk.begin == 0 && r->walk.end == reap_samples_blocks(&r->cursor.samples);
}

void reap_rows_start(reap_rows *r, const reap_walk *walk) {
  r->walk = *walk;
  r->chunks = r->last = 0;
  r->gathers =
      (r->slots == 0 || walk->first < r->slots) && !(r->held >= 0 && walks_all(r) && r->held_first <= walk->first);
  if (r->gathers) r->held = -1;
  r->cursor.wants_x = r->gathers;
  r->cursor.wants_y = walk->y_count > 0;
  reap_cursor_start(&r->cursor, walk->part, walk->begin, walk->end);
}

/* The end of a walk: if it took one chunk, its rows of X stay for the next one. */
static void keep_chunk(reap_rows *r) {
  if (!r->gathers || r->slots == 0 || r->chunks > 1 || !walks_all(r)) return;
  r->held = r->last;
  r->held_first = r->walk.first;
}

int reap_rows_next(reap_rows *r, int64_t *count) {
  reap_piece p;
  *count = 0;
  if (!r->cursor.wants_x && !r->cursor.wants_y) { /* X is there */
    if (r->chunks++ == 0) *count = r->held;
    return REAP_OK;
  }
  while (*count < r->capacity) {
    REAP_TRY(reap_cursor_next(&r->cursor, r->capacity - *count, &p));
    if (p.count == 0) break;
    if (p.x) take_x(r, &p, r->x + *count * r->columns);
    if (p.y) take_y(r, &p, r->y + *count * r->walk.y_count);
    *count += p.count;
  }
  if (*count == 0)
    keep_chunk(r);
  else
    r->chunks++, r->last = *count;
  return REAP_OK;
}
