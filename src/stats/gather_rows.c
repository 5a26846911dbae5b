/* Rows of all ranks put together; see gather_rows.h.
 *
 * Ranks have blocks of neighbouring images, so that one rank's rows stand behind another's. Each fills its own part of
 * a matrix of zeros, which are summed: exact.
 *
 * Cost: the elimination in sample space takes some n^2 (1.5 N + 19 N^2 / n) multiply-adds for N rows of n columns to
 * lose half of its channels, that of the dual system 1.2 n^3; they meet near N = n / 4, and from FEW on it is worth it.
 * Memory: N (n + m) numbers on every rank, and a chunk of rows.
 */
#include "gather_rows.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "rows.h"

enum { FEW = 8 /* columns for each row */, LEAST = 1024 /* columns: smaller systems cost next to nothing */ };

bool reap_rows_are_few(int64_t rows, int64_t columns) { return rows > 0 && columns >= LEAST && rows <= columns / FEW; }

/* Of the blocks before block `end` of all. */
static int64_t rows_before(const reap_samples *s, int64_t end) {
  int64_t count = 0;
  for (int64_t b = 0; b < end; b++) {
    int64_t first, images;
    reap_shard_block(&s->shard, b, &first, &images);
    if (reap_samples_counts(s, b - s->shard.first))
      count += images - (reap_split_count(s->split, first + images) - reap_split_count(s->split, first));
  }
  return count * reap_samples_per_image(s);
}

int64_t reap_samples_rows(const reap_samples *s) { return rows_before(s, s->shard.blocks); }

/* Own rows from row `at` on. Local. */
static int fill(const reap_samples *samples, int64_t at, reap_few_rows *out) {
  const reap_walk walk = {.end = reap_samples_blocks(samples), .y_count = out->m};
  reap_rows rows = {0};
  int64_t count = 0;
  int status = reap_rows_open(samples, out->channels, NULL, out->m, &rows);
  if (status == REAP_OK) reap_rows_start(&rows, &walk);
  do {
    if (status == REAP_OK) status = reap_rows_next(&rows, &count);
    if (status != REAP_OK) break;
    memcpy(out->x + at * out->n, rows.x, (size_t)(count * out->n) * sizeof *out->x);
    memcpy(out->y + at * out->m, rows.y, (size_t)(count * out->m) * sizeof *out->y);
    at += count;
  } while (count > 0);
  reap_rows_clear(&rows);
  return status;
}

int reap_gather_rows(const reap_comm *comm, const reap_samples *samples, reap_few_rows **out) {
  const reap_layer *layer = &samples->layer;
  const int64_t all = reap_samples_rows(samples);
  int status = reap_few_rows_create(layer->channels, layer->block, layer->m, all, out);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK)
    status = reap_comm_agree(comm, fill(samples, rows_before(samples, samples->shard.first), *out));
  if (status == REAP_OK) status = reap_comm_sum(comm, (*out)->x, all * layer->n);
  if (status == REAP_OK) status = reap_comm_sum(comm, (*out)->y, all * layer->m);
  if (status == REAP_OK) reap_few_rows_sum(*out);
  if (status != REAP_OK) reap_few_rows_destroy(out);
  return status;
}
