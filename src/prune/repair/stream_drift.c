/* Every block of images has a slot of its own in the sums, so that they do not depend on the number of ranks. */
#include "stream_drift.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

int reap_stream_drift_create(const run *r, int value, stream_drift *d) {
  *d = (stream_drift){.run = r, .value = value};
  REAP_TRY(reap_alloc(&d->wanted, reap_value_count(&r->pruned->values[value]), sizeof *d->wanted));
  REAP_TRY(reap_calloc(&d->errors, r->shard->blocks, sizeof *d->errors));
  return reap_calloc(&d->squares, r->shard->blocks, sizeof *d->squares);
}

void reap_stream_drift_clear(stream_drift *d) {
  reap_free(&d->wanted);
  reap_free(&d->errors);
  reap_free(&d->squares);
}

int reap_stream_drift_read(stream_drift *d, int64_t b) {
  const stay *left = &d->run->stays[d->value];
  const reap_value *whole = &d->run->original->values[d->value];
  const float *from = NULL;
  REAP_TRY(reap_frontier_read(d->run->front_original, d->value, b, &from));
  if (left->entries)
    reap_storage_pick(whole, left->axis, left->count, left->entries, from, d->wanted);
  else
    memcpy(d->wanted, from, (size_t)reap_value_count(whole) * sizeof *from);
  return REAP_OK;
}

void reap_stream_drift_note(stream_drift *d, int64_t b, bool held_out, const float *now) {
  const run *r = d->run;
  const int64_t block = r->shard->first + b, image = reap_value_count(&r->pruned->values[d->value]) / r->shard->block;
  int64_t first, images;
  double error = 0, square = 0;
  reap_shard_block(r->shard, block, &first, &images);
  for (int64_t i = 0; i < images; i++) {
    if (reap_split_holds_out(REAP_SPLIT_TENTH, first + i) != held_out) continue;
    for (int64_t e = i * image; e < (i + 1) * image; e++) {
      const double w = (double)d->wanted[e], apart = w - (double)now[e];
      error += apart * apart;
      square += w * w;
    }
  }
  d->errors[block] = error;
  d->squares[block] = square;
}

int reap_stream_drift_sum(stream_drift *d, double *error, double *square) {
  const int64_t blocks = d->run->shard->blocks;
  REAP_TRY(reap_comm_sum(d->run->comm, d->errors, blocks)); /* each slot has one owner: exact */
  REAP_TRY(reap_comm_sum(d->run->comm, d->squares, blocks));
  *error = *square = 0;
  for (int64_t b = 0; b < blocks; b++) {
    *error += d->errors[b];
    *square += d->squares[b];
  }
  memset(d->errors, 0, (size_t)blocks * sizeof *d->errors);
  memset(d->squares, 0, (size_t)blocks * sizeof *d->squares);
  return REAP_OK;
}

static int note_all(stream_drift *d, bool held_out) {
  for (int64_t b = 0; b < reap_run_blocks(d->run); b++) {
    const float *now = NULL;
    REAP_TRY(reap_stream_drift_read(d, b));
    REAP_TRY(reap_frontier_read(d->run->front_pruned, d->value, b, &now));
    reap_stream_drift_note(d, b, held_out, now);
  }
  return REAP_OK;
}

int reap_stream_drift_measure(const run *r, int value, bool held_out, double *out) {
  stream_drift d;
  double error = 0, square = 0;
  int status = reap_stream_drift_create(r, value, &d);
  if (status == REAP_OK) status = note_all(&d, held_out);
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) status = reap_stream_drift_sum(&d, &error, &square);
  *out = reap_relative_error(error, square);
  reap_stream_drift_clear(&d);
  return status;
}
