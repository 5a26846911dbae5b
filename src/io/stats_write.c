/* Writing statistics: rank 0 writes what all ranks hold, and every rank learns how it went. */
#include "io/files/durable.h"
#include "origin_attributes.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "stats_writer.h"

static int begin(reap_stats_writer *w, const char *path, const reap_origin *origin) {
  REAP_TRY(reap_strdup(&w->path, path));
  REAP_TRY(reap_durable_begin(path, &w->temporary));
  REAP_TRY(reap_h5_create(path, w->temporary, &w->file));
  REAP_TRY(reap_h5_write_format(w->file, "reap-stats"));
  REAP_TRY(reap_h5_write_origin(w->file, origin));
  return reap_h5_create_group(w->file, "layers", &w->layers);
}

int reap_stats_writer_create(const reap_comm *comm, const char *path, const reap_origin *origin,
                             reap_stats_writer **out) {
  reap_stats_writer *w = NULL;
  int status = reap_calloc(&w, 1, sizeof *w);
  if (status == REAP_OK) {
    w->comm = comm;
    w->file = w->layers = REAP_H5_NONE;
    if (reap_comm_rank(comm) == 0) status = begin(w, path, origin);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK)
    *out = w;
  else
    reap_stats_writer_destroy(&w);
  return status;
}

static int write_array(hid_t layer, const char *name, int rank, int64_t rows, int64_t columns, const double *values) {
  const int64_t dims[] = {rows, columns};
  return reap_h5_write(layer, name, H5T_NATIVE_DOUBLE, H5T_NATIVE_DOUBLE, rank, dims, values, NULL);
}

int reap_stats_writer_facts(hid_t layer, const char *node, int64_t channels, int64_t block, int64_t samples,
                            double energy) {
  REAP_TRY(reap_h5_write_integer(layer, "channels", channels));
  REAP_TRY(reap_h5_write_integer(layer, "block", block));
  REAP_TRY(reap_h5_write_integer(layer, "samples", samples));
  REAP_TRY(reap_h5_write_double(layer, "energy", energy));
  return reap_h5_write_string(layer, "node", node);
}

static int write_layer(hid_t layer, const char *node, const reap_moments *s) {
  REAP_TRY(reap_stats_writer_facts(layer, node, s->channels, s->block, s->samples, s->energy));
  REAP_TRY(write_array(layer, "gram", 2, s->n, s->n, s->gram));
  REAP_TRY(write_array(layer, "cross", 2, s->n, s->m, s->cross));
  REAP_TRY(write_array(layer, "sum_x", 1, s->n, 1, s->sum_x));
  return write_array(layer, "sum_y", 1, s->m, 1, s->sum_y);
}

static int add(reap_stats_writer *w, const char *name, const char *node, const reap_moments *moments) {
  hid_t layer = REAP_H5_NONE;
  REAP_TRY(reap_moments_check(moments, name));
  REAP_TRY(reap_h5_create_group(w->layers, name, &layer));
  int status = write_layer(layer, node, moments);
  if (!reap_h5_close(&layer) && status == REAP_OK) status = reap_h5_path_error(w->path, "cannot be written");
  return status;
}

int reap_stats_writer_add(reap_stats_writer *w, const char *layer, const char *node, const reap_moments *moments) {
  return reap_comm_agree(w->comm, reap_comm_rank(w->comm) == 0 ? add(w, layer, node, moments) : REAP_OK);
}

static int commit(reap_stats_writer *w) {
  if (!reap_h5_close(&w->layers)) return reap_h5_path_error(w->path, "cannot be written");
  REAP_TRY(reap_h5_close_written(&w->file, w->path));
  return reap_durable_commit(&w->temporary, w->path);
}

int reap_stats_writer_commit(reap_stats_writer **handle) {
  reap_stats_writer *w = *handle;
  int status = reap_comm_agree(w->comm, reap_comm_rank(w->comm) == 0 ? commit(w) : REAP_OK);
  reap_stats_writer_destroy(handle);
  return status;
}

void reap_stats_writer_destroy(reap_stats_writer **handle) {
  reap_stats_writer *w = *handle;
  if (!w) return;
  reap_h5_close(&w->layers);
  reap_h5_close(&w->file);
  reap_durable_abandon(&w->temporary);
  reap_free(&w->path);
  reap_free(handle);
}
