/* Writing statistics: rank 0 writes what all ranks hold, or what none holds as it arrives. All get the same status.
 *
 * A panel holds columns of X'X from the diagonal down. By symmetry each of them is also the end of a row of the file,
 * where it goes as it stands; the part below the diagonal block goes in once more, transposed in strips. X'Y comes a
 * few columns at a time from the ranks that keep them. Cost: every number of the file once.
 */
#include "io/hdf5/hdf5_util.h"
#include "origin_attributes.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/stats_file.h"

struct reap_stats_writer {
  const reap_comm *comm;
  reap_h5_output output; /* rank 0's */
};

static int begin(reap_stats_writer *w, const char *path, const reap_origin *origin) {
  reap_h5_output *o = &w->output;
  REAP_TRY(reap_h5_output_begin(path, "reap-stats", o));
  REAP_TRY(reap_h5_write_origin(o->file, origin));
  return reap_h5_create_group(o->file, "layers", &o->layers);
}

int reap_stats_writer_create(const reap_comm *comm, const char *path, const reap_origin *origin,
                             reap_stats_writer **out) {
  reap_stats_writer *w = NULL;
  int status = reap_calloc(&w, 1, sizeof *w);
  if (status == REAP_OK) {
    w->comm = comm;
    w->output = REAP_H5_NO_OUTPUT;
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

/* The attributes of a layer. */
static int write_facts(hid_t layer, const char *node, const reap_gram *s) {
  REAP_TRY(reap_h5_write_integer(layer, "channels", s->channels));
  REAP_TRY(reap_h5_write_integer(layer, "block", s->block));
  REAP_TRY(reap_h5_write_integer(layer, "samples", s->samples));
  REAP_TRY(reap_h5_write_double(layer, "energy", s->energy));
  return reap_h5_write_string(layer, "node", node);
}

static int write_layer(hid_t layer, const char *node, const reap_gram *gram) {
  const reap_moments *s = gram->moments;
  REAP_TRY(write_facts(layer, node, gram));
  REAP_TRY(write_array(layer, "gram", 2, s->n, s->n, s->gram));
  REAP_TRY(write_array(layer, "cross", 2, s->n, s->m, s->cross));
  REAP_TRY(write_array(layer, "sum_x", 1, s->n, 1, s->sum_x));
  return write_array(layer, "sum_y", 1, s->m, 1, s->sum_y);
}

static int add_whole(reap_stats_writer *w, const char *name, const char *node, const reap_gram *gram) {
  hid_t layer = REAP_H5_NONE;
  REAP_TRY(reap_error_prefix(reap_moments_check(gram->moments), "%s", name));
  REAP_TRY(reap_h5_create_group(w->output.layers, name, &layer));
  int status = write_layer(layer, node, gram);
  if (!reap_h5_close(&layer) && status == REAP_OK) status = reap_h5_path_error(w->output.path, "cannot be written");
  return status;
}

/* ------------------------------------------------------------------ panels */

enum { STRIP = 1 << 16 /* numbers transposed, or passed on, at a time */ };

/* The file's side, on rank 0. */
typedef struct output {
  hid_t layer, gram, cross;
  const reap_gram *source;
  double *strip; /* [STRIP] or one column */
} output;

static void close_output(output *o) {
  reap_h5_close(&o->gram);
  reap_h5_close(&o->cross);
  reap_h5_close(&o->layer);
  reap_free(&o->strip);
}

static int create_matrix(hid_t layer, const char *name, int64_t rows, int64_t columns, hid_t *dataset) {
  const hsize_t dims[] = {(hsize_t)rows, (hsize_t)columns};
  hid_t space = H5Screate_simple(2, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
  if (space >= 0 && list >= 0 && H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0)
    *dataset = H5Dcreate2(layer, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, list, H5P_DEFAULT);
  const int status = *dataset < 0 ? reap_h5_error(layer, name) : REAP_OK;
  reap_h5_close(&list);
  reap_h5_close(&space);
  return status;
}

static int create_layer(reap_stats_writer *w, const char *name, const char *node, output *o) {
  const reap_gram *s = o->source;
  const int64_t n = s->n, m = s->m;
  REAP_TRY(reap_h5_create_group(w->output.layers, name, &o->layer));
  REAP_TRY(write_facts(o->layer, node, s));
  REAP_TRY(create_matrix(o->layer, "gram", n, n, &o->gram));
  REAP_TRY(create_matrix(o->layer, "cross", n, m, &o->cross));
  REAP_TRY(reap_h5_write_vector(o->layer, "sum_x", H5T_NATIVE_DOUBLE, n, s->sum_x));
  REAP_TRY(reap_h5_write_vector(o->layer, "sum_y", H5T_NATIVE_DOUBLE, m, s->sum_y));
  return reap_alloc(&o->strip, STRIP > n ? STRIP : n, sizeof *o->strip);
}

/* Rows x columns of the file from a row-major array of rows of `ld` numbers. */
static int write_piece(hid_t dataset, const char *name, int64_t row, int64_t rows, int64_t column, int64_t columns,
                       const double *values, int64_t ld) {
  const hsize_t start[] = {(hsize_t)row, (hsize_t)column}, count[] = {(hsize_t)rows, (hsize_t)columns};
  const hsize_t zero[] = {0, 0}, shape[] = {(hsize_t)rows, (hsize_t)ld};
  hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(2, shape, NULL);
  const bool done = space >= 0 && memory >= 0 &&
                    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
                    H5Sselect_hyperslab(memory, H5S_SELECT_SET, zero, NULL, count, NULL) >= 0 &&
                    H5Dwrite(dataset, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, values) >= 0;
  const int status = done ? reap_h5_written(dataset) : reap_h5_error(dataset, name);
  reap_h5_close(&space);
  reap_h5_close(&memory);
  return status;
}

/* Transposes `columns` columns of `rows` numbers strip by strip into rows row .. and columns column .. of the file. */
static int write_transposed(output *o, hid_t dataset, const char *name, int64_t row, int64_t rows, int64_t column,
                            int64_t columns, const double *values, int64_t ld) {
  const int64_t most = columns < STRIP ? STRIP / columns : 1;
  for (int64_t i = 0; i < rows; i += most) {
    const int64_t height = rows - i < most ? rows - i : most;
    for (int64_t k = 0; k < height; k++)
      for (int64_t j = 0; j < columns; j++) o->strip[k * columns + j] = values[i + k + j * ld];
    REAP_TRY(write_piece(dataset, name, row + i, height, column, columns, o->strip, columns));
  }
  return REAP_OK;
}

static int check_panel(int64_t from, int64_t rows, int64_t columns, const double *values, int64_t ld) {
  double sum = 0; /* a NaN or an infinity anywhere makes the sum of 0 * value a NaN */
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++) sum += 0 * values[i + j * ld];
  if (sum == 0) return REAP_OK;
  return reap_error(REAP_ERR_NUMERIC,
                    "the moments hold a NaN or an infinity in columns %lld to %lld; look at the weights and images",
                    (long long)from, (long long)(from + columns - 1));
}

static int take_panel(void *context, int64_t first, int64_t count, double *columns, int64_t ld) {
  output *o = context;
  const int64_t b = o->source->block, from = first * b, width = count * b, rows = o->source->n - from;
  if (o->gram < 0) return REAP_OK;    /* not rank 0 */
  for (int64_t j = 0; j < width; j++) /* one rounding for both triangles */
    for (int64_t i = 0; i < j; i++) columns[i + j * ld] = columns[j + i * ld];
  REAP_TRY(check_panel(from, rows, width, columns, ld));
  REAP_TRY(write_piece(o->gram, "gram", from, width, from, rows, columns, ld));
  return write_transposed(o, o->gram, "gram", from + width, rows - width, from, width, columns + width, ld);
}

/* Columns of X'Y from the ranks that have them, a few at a time. Collective. */
static int write_cross(const reap_comm *comm, output *o) {
  const reap_gram *s = o->source;
  const int rank = reap_comm_rank(comm);
  const int64_t n = s->n, most = n < STRIP ? STRIP / n : 1;
  double *columns = NULL;
  int status = reap_comm_agree(comm, reap_alloc(&columns, n * most, sizeof *columns));
  for (int owner = 0; status == REAP_OK && owner < reap_comm_size(comm); owner++) {
    int64_t first, last;
    reap_comm_share(s->m, owner, reap_comm_size(comm), &first, &last);
    for (int64_t at = first; status == REAP_OK && at < last; at += most) {
      const int64_t count = last - at < most ? last - at : most;
      if (rank == owner) status = s->cross(s->context, 0, n, at, count, columns, n);
      REAP_TRY_OR(reap_comm_agree(comm, status), done);
      REAP_TRY_OR(reap_comm_broadcast(comm, columns, (size_t)(n * count) * sizeof *columns, owner), done);
      if (rank == 0) status = check_panel(0, n, count, columns, n);
      if (rank == 0 && status == REAP_OK) status = write_transposed(o, o->cross, "cross", 0, n, at, count, columns, n);
      status = reap_comm_agree(comm, status);
    }
  }
done:
  reap_free(&columns);
  return status;
}

static int stream(const reap_comm *comm, const reap_gram *s, output *o) {
  int64_t *all = NULL;
  int status = reap_comm_agree(comm, reap_alloc(&all, s->channels, sizeof *all));
  for (int64_t c = 0; status == REAP_OK && c < s->channels; c++) all[c] = c;
  if (status == REAP_OK) status = s->gram_panels(s->context, s->channels, all, take_panel, o);
  status = reap_comm_agree(comm, status); /* panels of few rows are each rank's own */
  reap_free(&all);
  return status == REAP_OK ? write_cross(comm, o) : status;
}

/* Collective. */
static int add_panels(reap_stats_writer *w, const char *layer, const char *node, const reap_gram *gram) {
  output o = {REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE, gram, NULL};
  int status = gram->samples < 1 ? reap_error(REAP_ERR_NUMERIC, "%s: the moments hold no samples", layer) : REAP_OK;
  if (status == REAP_OK && reap_comm_rank(w->comm) == 0) status = create_layer(w, layer, node, &o);
  status = reap_comm_agree(w->comm, status);
  if (status == REAP_OK) status = stream(w->comm, gram, &o);
  close_output(&o);
  return reap_error_prefix(status, "%s", layer);
}

/* ------------------------------------------------------------------ either */

int reap_stats_writer_add(reap_stats_writer *w, const char *layer, const char *node, const reap_gram *gram) {
  if (gram->gram_panels) return add_panels(w, layer, node, gram);
  return reap_comm_agree(w->comm, reap_comm_rank(w->comm) == 0 ? add_whole(w, layer, node, gram) : REAP_OK);
}

int reap_stats_writer_commit(reap_stats_writer **handle) {
  reap_stats_writer *w = *handle;
  int status = reap_comm_agree(w->comm, reap_comm_rank(w->comm) == 0 ? reap_h5_output_commit(&w->output) : REAP_OK);
  reap_stats_writer_destroy(handle);
  return status;
}

void reap_stats_writer_destroy(reap_stats_writer **writer) {
  if (!*writer) return;
  reap_h5_output_abandon(&(*writer)->output);
  reap_free(writer);
}
