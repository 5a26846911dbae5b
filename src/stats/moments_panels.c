/* Moments by panels: sums over ranks overlapped with products; see moments_panels.h.
 *
 * Method. A panel is X' X_P for the columns P of a few neighbouring channels, from the first of them down: by symmetry
 * the rows above belong to earlier panels. Every rank forms its own images' part with DGEMM, over chunks of rows
 * (rows.c), and begins a non-blocking sum over the ranks; while that is under way it forms the next panel,
 * letting MPI work between the tiles of the product. The caller then receives the panel: on every rank, whole, and
 * once. X'Y goes the same way in panels of outputs, each summed on the rank that keeps them alone.
 *
 * Cost for N rows on p ranks: N n (n / 2 + w / 2 + m) / p multiply-adds with panels of w columns, and n / w + m / w
 * walks over the rows (rows.c); n^2 + n m numbers through the network for each rank. Memory of a rank: two panels
 * of n w numbers and one more inside MPI, n m / p for X'Y, a chunk of rows. A solver that has to start anew, with a
 * larger ridge say, streams the panels again: that costs the products once more, and no second matrix.
 *
 * Failure modes: a rank that cannot read its rows goes on with zeros, so that no sum hangs; all ranks fail at the
 * end. Activations that overflow give moments that are not finite; the solver says so.
 */
#include "moments_panels.h"

#include <string.h>

#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rows.h"

static const int64_t PANEL_BYTES = (int64_t)64 << 20;
enum { SHARE = 16, TILE = 4096 /* rows of a panel between two turns of MPI */ };

struct reap_moments_panels {
  const reap_comm *comm;
  reap_samples samples;
  int64_t width; /* columns of a panel */
  reap_gram gram;
  double *diagonal, *sum_x, *sum_y; /* [n], [n], [m], summed over the ranks */
  double *square_y;                 /* [m] this rank's */
  double *cross;                    /* [n, count] column-major: this rank's outputs first .. first + count */
  int64_t first, count;
};

int64_t reap_moments_panels_width(int64_t n, int ranks) {
  const int64_t share = n / ranks * n / SHARE * (int64_t)sizeof(double);
  const int64_t width = (share > PANEL_BYTES ? share : PANEL_BYTES) / (n * (int64_t)sizeof(double));
  return width < 1 ? 1 : width < n ? width : n;
}

double reap_moments_panels_bytes(const reap_layer *layer, int ranks) {
  const double n = (double)layer->n, m = (double)layer->m;
  return 8 * (3 * n * (double)reap_moments_panels_width(layer->n, ranks) + n * m / ranks + 3 * n + m) +
         (double)REAP_ROWS_BYTES;
}

void reap_moments_panels_destroy(reap_moments_panels **panels) {
  reap_moments_panels *p = *panels;
  if (!p) return;
  reap_free(&p->diagonal);
  reap_free(&p->sum_x);
  reap_free(&p->sum_y);
  reap_free(&p->square_y);
  reap_free(&p->cross);
  reap_free(panels);
}

const reap_gram *reap_moments_panels_gram(const reap_moments_panels *p) { return &p->gram; }

double reap_moments_panels_multiply_adds(const reap_moments_panels *p) {
  const double n = (double)p->gram.n;
  return (double)p->gram.samples * n * (0.5 * n + (double)p->gram.m);
}

/* ------------------------------------------------------------------ one panel */

/* A panel being formed, or summed. */
typedef struct panel {
  double *values; /* [rows, count] column-major without gaps */
  int64_t first, rows, count;
  bool empty; /* no chunk has come yet */
  reap_comm_pending *sum;
  reap_comm_pending *under_way; /* the panel before, which gets a turn now and then */
  reap_moments_panels *owner;
} panel;

/* values += left right', tile by tile; chunks are row-major, hence column-major transposes. */
static int add_product(panel *p, int64_t samples, const double *left, int64_t ld_left, const double *right,
                       int64_t ld_right) {
  const double beta = p->empty ? 0 : 1;
  for (int64_t i = 0; i < p->rows; i += TILE) {
    const int64_t height = p->rows - i < TILE ? p->rows - i : TILE;
    REAP_TRY(reap_dgemm('N', 'T', height, p->count, samples, 1, left + i, ld_left, right, ld_right, beta, p->values + i,
                        p->rows));
    reap_comm_sum_advance(p->under_way);
  }
  p->empty = false;
  return REAP_OK;
}

static int use_gram(panel *p, const reap_rows *rows, int64_t count) {
  const double *x = rows->x + p->first;
  return add_product(p, count, x, rows->columns, x, rows->columns);
}

/* Sums of the columns of rows [samples, n], and of their squares. */
static void add_sums(const double *restrict rows, int64_t samples, int64_t n, double *restrict sums,
                     double *restrict squares) {
  for (int64_t r = 0; r < samples; r++)
    for (int64_t i = 0; i < n; i++) {
      sums[i] += rows[r * n + i];
      squares[i] += rows[r * n + i] * rows[r * n + i];
    }
}

/* Each output comes in one panel; the inputs' own sums are formed with the first. */
static int use_cross(panel *p, const reap_rows *rows, int64_t count) {
  reap_moments_panels *m = p->owner;
  add_sums(rows->y, count, p->count, m->sum_y + p->first, m->square_y + p->first);
  if (p->first == 0) {
    add_sums(rows->x, count, p->rows, m->sum_x, m->diagonal);
    m->gram.samples += count;
  }
  return add_product(p, count, rows->x, p->rows, rows->y, p->count);
}

/* This rank's part of a panel; zeros after a failure. */
static int form(panel *p, int status, reap_rows *rows, const reap_walk *walk,
                int (*use)(panel *, const reap_rows *, int64_t)) {
  int64_t count = 0;
  p->empty = true;
  reap_rows_start(rows, walk);
  do {
    if (status == REAP_OK) status = reap_rows_next(rows, &count);
    if (status == REAP_OK && count > 0) status = use(p, rows, count);
  } while (status == REAP_OK && count > 0);
  if (p->empty || status != REAP_OK) memset(p->values, 0, (size_t)(p->rows * p->count) * sizeof *p->values);
  return status;
}

/* ------------------------------------------------------------------ X'X, streamed */

static int hand_over(panel *p, int status, int64_t block, reap_panel_visitor visit, void *visitor) {
  if (!p->sum) return status;
  reap_comm_sum_finish(&p->sum);
  return status == REAP_OK ? visit(visitor, p->first / block, p->count / block, p->values, p->rows) : status;
}

static int stream(reap_moments_panels *m, reap_rows *rows, int64_t slots, panel *panels, reap_panel_visitor visit,
                  void *visitor) {
  const int64_t b = m->gram.block, step = m->width < b ? 1 : m->width / b;
  int status = REAP_OK, k = 0;
  for (int64_t first = 0; first < slots; first += step, k ^= 1) {
    panel *p = &panels[k], *before = &panels[1 - k];
    const reap_walk walk = {.end = reap_samples_blocks(&m->samples), .first = first};
    p->first = first * b;
    p->rows = (slots - first) * b;
    p->count = (slots - first < step ? slots - first : step) * b;
    p->under_way = before->sum;
    status = form(p, status, rows, &walk, use_gram);
    const int begun = reap_comm_sum_begin(m->comm, p->values, p->rows * p->count, -1, &p->sum);
    status = hand_over(before, status, b, visit, visitor);
    if (begun != REAP_OK) return begun;
  }
  return hand_over(&panels[1 - k], status, b, visit, visitor);
}

static int gram_panels(void *context, int64_t slots, const int64_t *channel, reap_panel_visitor visit, void *visitor) {
  reap_moments_panels *m = context;
  const int64_t b = m->gram.block, width = m->width < b ? b : m->width;
  reap_rows rows = {0};
  panel panels[2] = {{0}, {0}};
  int64_t size = 0;
  int status = reap_multiply(slots * b, width < slots * b ? width : slots * b, &size);
  if (status == REAP_OK) status = reap_rows_open(&m->samples, slots, channel, 0, &rows);
  for (int k = 0; k < 2 && status == REAP_OK; k++) status = reap_alloc(&panels[k].values, size, sizeof(double));
  status = reap_comm_agree(m->comm, status);
  if (status == REAP_OK) status = reap_comm_agree(m->comm, stream(m, &rows, slots, panels, visit, visitor));
  for (int k = 0; k < 2; k++) reap_free(&panels[k].values);
  reap_rows_clear(&rows);
  return status;
}

/* ------------------------------------------------------------------ X'Y and sums */

/* Panels of outputs, owner by owner; an owner sums in place. */
static int gather_cross(reap_moments_panels *m, reap_rows *rows, int64_t width, double *const buffers[2]) {
  const int64_t n = m->gram.n;
  const int rank = reap_comm_rank(m->comm), ranks = reap_comm_size(m->comm);
  reap_comm_pending *before = NULL;
  int status = REAP_OK, begun = REAP_OK, k = 0;
  for (int owner = 0; begun == REAP_OK && owner < ranks; owner++) {
    int64_t first, last;
    reap_comm_share(m->gram.m, owner, ranks, &first, &last);
    for (int64_t at = first; begun == REAP_OK && at < last; at += width, k ^= 1) {
      const int64_t count = last - at < width ? last - at : width;
      panel p = {.values = owner == rank ? m->cross + (at - first) * n : buffers[k],
                 .first = at,
                 .rows = n,
                 .count = count,
                 .under_way = before,
                 .owner = m};
      const reap_walk walk = {.end = reap_samples_blocks(&m->samples), .y_first = at, .y_count = count};
      status = form(&p, status, rows, &walk, use_cross);
      reap_comm_pending *sum = NULL;
      begun = reap_comm_sum_begin(m->comm, p.values, n * count, owner, &sum);
      reap_comm_sum_finish(&before);
      before = sum;
    }
  }
  reap_comm_sum_finish(&before);
  return begun != REAP_OK ? begun : status;
}

static int gather(reap_moments_panels *m) {
  const int64_t n = m->gram.n, width = m->width < m->gram.m ? m->width : m->gram.m;
  reap_rows rows = {0};
  double *buffers[2] = {NULL, NULL};
  int64_t size = 0;
  int status = reap_multiply(n, width, &size);
  if (status == REAP_OK) status = reap_rows_open(&m->samples, m->gram.channels, NULL, width, &rows);
  for (int k = 0; k < 2 && status == REAP_OK; k++) status = reap_alloc(&buffers[k], size, sizeof(double));
  status = reap_comm_agree(m->comm, status);
  if (status == REAP_OK) status = reap_comm_agree(m->comm, gather_cross(m, &rows, width, buffers));
  for (int k = 0; k < 2; k++) reap_free(&buffers[k]);
  reap_rows_clear(&rows);
  return status;
}

/* X'Y of this rank's outputs; the solver asks for no others. */
static int cross_piece(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                       int64_t ld) {
  const reap_moments_panels *m = context;
  if (column < m->first || column + columns > m->first + m->count)
    return reap_error(REAP_ERR_INTERNAL, "outputs %lld to %lld are another rank's", (long long)column,
                      (long long)(column + columns - 1));
  for (int64_t j = 0; j < columns; j++)
    memcpy(out + j * ld, m->cross + row + (column - m->first + j) * m->gram.n, (size_t)rows * sizeof *out);
  return REAP_OK;
}

static int allocate(reap_moments_panels *m) {
  const int64_t n = m->gram.n;
  int64_t last = 0, size = 0;
  reap_comm_share(m->gram.m, reap_comm_rank(m->comm), reap_comm_size(m->comm), &m->first, &last);
  m->count = last - m->first;
  REAP_TRY(reap_multiply(n, m->count, &size));
  REAP_TRY(reap_calloc(&m->diagonal, n, sizeof *m->diagonal));
  REAP_TRY(reap_calloc(&m->sum_x, n, sizeof *m->sum_x));
  REAP_TRY(reap_calloc(&m->sum_y, m->gram.m, sizeof *m->sum_y));
  REAP_TRY(reap_calloc(&m->square_y, m->gram.m, sizeof *m->square_y));
  return reap_alloc(&m->cross, size, sizeof *m->cross);
}

static int sum_up(reap_moments_panels *m) {
  for (int64_t j = 0; j < m->gram.m; j++) m->gram.energy += m->square_y[j];
  REAP_TRY(reap_comm_sum(m->comm, m->diagonal, m->gram.n));
  REAP_TRY(reap_comm_sum(m->comm, m->sum_x, m->gram.n));
  REAP_TRY(reap_comm_sum(m->comm, m->sum_y, m->gram.m));
  REAP_TRY(reap_comm_sum(m->comm, &m->gram.energy, 1));
  return reap_comm_sum_int64(m->comm, &m->gram.samples, 1);
}

int reap_moments_panels_create(const reap_comm *comm, const reap_samples *samples, int64_t width,
                               reap_moments_panels **out) {
  const reap_layer *layer = &samples->layer;
  reap_moments_panels *m = NULL;
  int status = reap_calloc(&m, 1, sizeof *m);
  if (status == REAP_OK) {
    m->comm = comm;
    m->samples = *samples;
    m->width = width > 0 ? width : reap_moments_panels_width(layer->n, reap_comm_size(comm));
    m->gram = (reap_gram){
        .channels = layer->channels, .block = layer->block, .n = layer->n, .m = layer->m, .diagonal_step = 1};
    status = allocate(m);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = gather(m);
  if (status == REAP_OK) status = sum_up(m);
  if (status != REAP_OK) {
    reap_moments_panels_destroy(&m);
  } else {
    m->gram.diagonal = m->diagonal;
    m->gram.sum_x = m->sum_x;
    m->gram.sum_y = m->sum_y;
    m->gram.context = m;
    m->gram.cross = cross_piece;
    m->gram.gram_panels = gram_panels;
  }
  *out = m;
  return status;
}
