/* Data sets of images: reading a range of images as the network sees them. */
#include "reap/dataset.h"

#include <math.h>
#include <string.h>

#include "io/hdf5/hdf5_util.h"
#include "read_ahead.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Images are read in pieces of about this size, whatever the caller asks for. */
static const int64_t PIECE_BYTES = (int64_t)16 << 20;
static const size_t MAX_CHUNK_CACHE = (size_t)256 << 20;

enum { LEVELS = 256, MAX_CHANNELS = 1 << 16 };

struct reap_dataset {
  char *path;
  hid_t file, images, labels; /* labels: REAP_H5_NONE if there are none */
  int rank;
  int64_t dims[REAP_MAX_RANK];                    /* [images, channels, ...] */
  int64_t count, channels, positions, image_size; /* image_size: channels * positions */
  bool is_bytes, is_raw;                          /* is_raw: the network sees the bytes as they are */
  float *table;                                   /* [channels, LEVELS] what each byte becomes; NULL for float images */
  void *piece;                                    /* [piece_images, image_size] as stored */
  int64_t piece_images;
  read_ahead ahead;
  float least, greatest; /* of what was read */
};

/* Attributes belong to the data set; on the file itself they are taken as well. */
static hid_t attribute_owner(const reap_dataset *dataset, const char *name) {
  bool on_file = !reap_h5_has_attribute(dataset->images, name) && reap_h5_has_attribute(dataset->file, name);
  return on_file ? dataset->file : dataset->images;
}

/* Other ranks than that of images have no names for their axes. */
static int check_layout(const reap_dataset *dataset) {
  char *layout = NULL;
  if (dataset->rank != 4) return REAP_OK;
  REAP_TRY(reap_h5_read_string(attribute_owner(dataset, "layout"), "layout", &layout));
  int status = REAP_OK;
  if (strcmp(layout, "NCHW") != 0)
    status =
        reap_error(REAP_ERR_INPUT, "%s: the layout of \"images\" is \"%s\"; store them as NCHW", dataset->path, layout);
  reap_free(&layout);
  return status;
}

static int read_factors(const reap_dataset *dataset, const char *name, int64_t count, bool positive, double *out) {
  REAP_TRY(reap_h5_read_numbers(attribute_owner(dataset, name), name, count, out));
  for (int64_t i = 0; i < count; i++)
    if (!isfinite((float)out[i]) || (positive && !((float)out[i] > 0)))
      return reap_error(REAP_ERR_INPUT, "%s: attribute \"%s\" holds %g; it has to be finite%s", dataset->path, name,
                        out[i], positive ? " and positive" : "");
  return REAP_OK;
}

/* Steps are kept apart by volatile: fused ones would round differently from NumPy. */
static float normalise(int level, float scale, float mean, float std) {
  volatile float scaled = (float)level * scale;
  volatile float centred = scaled - mean;
  return centred / std;
}

static int make_table(reap_dataset *dataset) {
  double scale = 0, *mean = NULL, *std = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&mean, dataset->channels, sizeof *mean), done);
  REAP_TRY_OR(reap_alloc(&std, dataset->channels, sizeof *std), done);
  REAP_TRY_OR(read_factors(dataset, "scale", 1, true, &scale), done);
  REAP_TRY_OR(read_factors(dataset, "mean", dataset->channels, false, mean), done);
  REAP_TRY_OR(read_factors(dataset, "std", dataset->channels, true, std), done);
  REAP_TRY_OR(reap_alloc(&dataset->table, dataset->channels * LEVELS, sizeof *dataset->table), done);
  dataset->is_raw = (float)scale == 1;
  for (int64_t c = 0; c < dataset->channels; c++) {
    dataset->is_raw = dataset->is_raw && (float)mean[c] == 0 && (float)std[c] == 1;
    for (int level = 0; level < LEVELS; level++)
      dataset->table[c * LEVELS + level] = normalise(level, (float)scale, (float)mean[c], (float)std[c]);
  }
done:
  reap_free(&mean);
  reap_free(&std);
  return status;
}

static int check_images(reap_dataset *dataset) {
  H5T_class_t type_class;
  size_t bytes = 0;
  bool is_signed = false;
  REAP_TRY(reap_h5_type(dataset->images, "images", &type_class, &bytes, &is_signed));
  dataset->is_bytes = type_class == H5T_INTEGER && bytes == 1 && !is_signed;
  if (!dataset->is_bytes && !(type_class == H5T_FLOAT && (bytes == 4 || bytes == 8)))
    return reap_error(REAP_ERR_INPUT, "%s: \"images\" have to be uint8 or float32", dataset->path);
  int64_t *dims = dataset->dims, total = 0;
  REAP_TRY(reap_h5_shape(dataset->images, "images", 2, REAP_MAX_RANK, &dataset->rank, dims));
  for (int i = 0; i < dataset->rank; i++)
    if (dims[i] < 1) return reap_error(REAP_ERR_INPUT, "%s: \"images\" is empty: dimension %d is 0", dataset->path, i);
  if (reap_product(dims, dataset->rank, &total) != REAP_OK || total > INT64_MAX / 8 ||
      (dims[1] > MAX_CHANNELS && (dataset->is_bytes || dataset->rank > 2)))
    return reap_error(REAP_ERR_INPUT, "%s: \"images\" has an impossible size", dataset->path);
  dataset->count = dims[0];
  dataset->channels = dims[1];
  dataset->image_size = total / dims[0];
  dataset->positions = dataset->image_size / dims[1];
  return reap_h5_check_stored(dataset->images, "images", type_class);
}

/* Opens "images" again with a cache that holds whole chunks: HDF5's default of 1 MB would unpack a chunk of larger
 * images anew for every piece. */
static int widen_chunk_cache(reap_dataset *dataset) {
  hid_t list = H5Dget_create_plist(dataset->images), access = REAP_H5_NONE;
  hsize_t chunk[REAP_MAX_RANK];
  size_t bytes = dataset->is_bytes ? 1 : 8;
  bool chunked =
      list >= 0 && H5Pget_layout(list) == H5D_CHUNKED && H5Pget_chunk(list, dataset->rank, chunk) == dataset->rank;
  for (int i = 0; chunked && i < dataset->rank; i++)
    bytes = chunk[i] < MAX_CHUNK_CACHE ? bytes * (size_t)chunk[i] : MAX_CHUNK_CACHE;
  reap_h5_close(&list);
  if (!chunked || bytes > MAX_CHUNK_CACHE / 2) return REAP_OK;
  access = H5Pcreate(H5P_DATASET_ACCESS);
  if (access < 0 || H5Pset_chunk_cache(access, 521, 2 * bytes + ((size_t)1 << 20), H5D_CHUNK_CACHE_W0_DEFAULT) < 0) {
    reap_h5_close(&access);
    return REAP_OK; /* only slower */
  }
  hid_t again = H5Dopen2(dataset->file, "images", access);
  if (again >= 0) {
    reap_h5_close(&dataset->images);
    dataset->images = again;
  }
  reap_h5_close(&access);
  return REAP_OK;
}

static int open_labels(reap_dataset *dataset) {
  if (!reap_h5_has(dataset->file, "labels")) return REAP_OK;
  return reap_h5_expect(dataset->file, "labels", H5T_INTEGER, 1, &dataset->count, &dataset->labels);
}

static int open_parts(reap_dataset *dataset) {
  REAP_TRY(reap_h5_open(dataset->path, &dataset->file));
  REAP_TRY(reap_h5_open_dataset(dataset->file, "images", &dataset->images));
  REAP_TRY(check_images(dataset));
  REAP_TRY(check_layout(dataset));
  if (dataset->is_bytes) REAP_TRY(make_table(dataset));
  REAP_TRY(widen_chunk_cache(dataset));
  const int64_t element = dataset->is_bytes ? 1 : (int64_t)sizeof(float);
  dataset->ahead = reap_read_ahead_open(dataset->path, dataset->images, dataset->count, dataset->image_size * element);
  return open_labels(dataset);
}

int reap_dataset_open(const char *path, reap_dataset **out) {
  reap_dataset *dataset = NULL;
  REAP_TRY(reap_calloc(&dataset, 1, sizeof *dataset));
  dataset->least = INFINITY;
  dataset->greatest = -INFINITY;
  dataset->file = dataset->images = dataset->labels = REAP_H5_NONE;
  dataset->ahead.descriptor = -1;
  int status = reap_strdup(&dataset->path, path);
  if (status == REAP_OK) status = open_parts(dataset);
  if (status == REAP_OK)
    *out = dataset;
  else
    reap_dataset_close(&dataset);
  return status;
}

void reap_dataset_close(reap_dataset **handle) {
  reap_dataset *dataset = *handle;
  if (!dataset) return;
  reap_read_ahead_close(&dataset->ahead);
  reap_h5_close(&dataset->labels);
  reap_h5_close(&dataset->images);
  reap_h5_close(&dataset->file);
  reap_free(&dataset->piece);
  reap_free(&dataset->table);
  reap_free(&dataset->path);
  reap_free(handle);
}

const char *reap_dataset_path(const reap_dataset *dataset) { return dataset->path; }

int reap_dataset_shape(const reap_dataset *dataset, int64_t dims[REAP_MAX_RANK]) {
  memcpy(dims, dataset->dims, (size_t)dataset->rank * sizeof *dims);
  return dataset->rank;
}

int64_t reap_dataset_images(const reap_dataset *dataset) { return dataset->count; }
bool reap_dataset_is_raw(const reap_dataset *dataset) { return dataset->is_raw; }

bool reap_dataset_has_labels(const reap_dataset *dataset) { return dataset->labels >= 0; }

/* Reads rows [first, first + count) of a data set whose rows have the given sizes. */
static int read_rows(const reap_dataset *dataset, hid_t from, const char *name, hid_t type, int rank, hsize_t *sizes,
                     int64_t first, int64_t count, void *out) {
  hsize_t start[REAP_MAX_RANK] = {(hsize_t)first};
  sizes[0] = (hsize_t)count;
  hid_t space = H5Dget_space(from), memory = H5Screate_simple(rank, sizes, NULL);
  bool done = space >= 0 && memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0 &&
              H5Dread(from, type, memory, space, H5P_DEFAULT, out) >= 0;
  int status = done ? REAP_OK : reap_h5_path_error(dataset->path, "cannot be read; copy or write it again");
  if (!done) status = reap_error_prefix(status, "\"%s\" of images %lld and on", name, (long long)first);
  reap_h5_close(&memory);
  reap_h5_close(&space);
  return status;
}

static int make_piece(reap_dataset *dataset) {
  if (dataset->piece) return REAP_OK;
  int64_t bytes = dataset->image_size * (dataset->is_bytes ? 1 : (int64_t)sizeof(float));
  int64_t images = PIECE_BYTES / bytes > 0 ? PIECE_BYTES / bytes : 1;
  if (images > dataset->count) images = dataset->count;
  REAP_TRY(reap_alloc(&dataset->piece, images, (size_t)bytes));
  dataset->piece_images = images;
  return REAP_OK;
}

/* [channels, positions] through the table, to [positions, channels] or as they lie. */
static void convert_bytes(const reap_dataset *dataset, bool channels_last, const uint8_t *from, float *to) {
  const int64_t channels = dataset->channels, positions = dataset->positions;
  const int64_t step = channels_last ? channels : 1, next = channels_last ? 1 : positions;
  for (int64_t c = 0; c < channels; c++) {
    const float *table = dataset->table + c * LEVELS;
    for (int64_t p = 0; p < positions; p++) to[p * step + c * next] = table[from[c * positions + p]];
  }
}

static bool convert_floats(const reap_dataset *dataset, bool channels_last, const float *from, float *to) {
  const int64_t channels = dataset->channels, positions = dataset->positions;
  bool finite = true;
  for (int64_t i = 0; i < dataset->image_size; i++) finite &= isfinite(from[i]) != 0;
  if (!channels_last) memcpy(to, from, (size_t)dataset->image_size * sizeof *to);
  for (int64_t c = 0; c < channels && channels_last; c++)
    for (int64_t p = 0; p < positions; p++) to[p * channels + c] = from[c * positions + p];
  return finite;
}

static int check_range(const reap_dataset *dataset, int64_t first, int64_t count) {
  if (first < 0 || count < 0 || first > dataset->count || count > dataset->count - first)
    return reap_error(REAP_ERR_INTERNAL, "%s: images %lld to %lld of %lld were asked for", dataset->path,
                      (long long)first, (long long)(first + count), (long long)dataset->count);
  return REAP_OK;
}

static int read_piece(reap_dataset *dataset, int64_t first, int64_t count, bool channels_last, float *images) {
  hsize_t sizes[REAP_MAX_RANK];
  for (int i = 0; i < dataset->rank; i++) sizes[i] = (hsize_t)dataset->dims[i];
  hid_t type = dataset->is_bytes ? H5T_NATIVE_UINT8 : H5T_NATIVE_FLOAT;
  REAP_TRY(read_rows(dataset, dataset->images, "images", type, dataset->rank, sizes, first, count, dataset->piece));
  for (int64_t i = 0; i < count; i++) {
    float *to = images + i * dataset->image_size;
    if (dataset->is_bytes)
      convert_bytes(dataset, channels_last, (const uint8_t *)dataset->piece + i * dataset->image_size, to);
    else if (!convert_floats(dataset, channels_last, (const float *)dataset->piece + i * dataset->image_size, to))
      return reap_error(REAP_ERR_INPUT, "%s: image %lld holds a NaN or an infinity; remove or repair it", dataset->path,
                        (long long)(first + i));
  }
  return REAP_OK;
}

void reap_dataset_range(const reap_dataset *dataset, double *least, double *greatest) {
  *least = (double)dataset->least;
  *greatest = (double)dataset->greatest;
}

int reap_dataset_read(reap_dataset *dataset, int64_t first, int64_t count, bool channels_last, float *images) {
  REAP_TRY(check_range(dataset, first, count));
  REAP_TRY(make_piece(dataset));
  for (int64_t done = 0; done < count;) {
    int64_t n = count - done < dataset->piece_images ? count - done : dataset->piece_images;
    REAP_TRY(read_piece(dataset, first + done, n, channels_last, images + done * dataset->image_size));
    done += n;
  }
  for (int64_t i = 0; i < count * dataset->image_size; i++) {
    dataset->least = images[i] < dataset->least ? images[i] : dataset->least;
    dataset->greatest = images[i] > dataset->greatest ? images[i] : dataset->greatest;
  }
  reap_read_ahead_advise(&dataset->ahead, first + count, count); /* the next block, while this one is computed */
  return REAP_OK;
}

int reap_dataset_read_labels(reap_dataset *dataset, int64_t first, int64_t count, int64_t *labels) {
  REAP_TRY(check_range(dataset, first, count));
  if (!reap_dataset_has_labels(dataset))
    return reap_error(REAP_ERR_INPUT, "%s: has no labels; add a data set \"labels\"", dataset->path);
  hsize_t sizes[1];
  if (count > 0)
    REAP_TRY(read_rows(dataset, dataset->labels, "labels", H5T_NATIVE_INT64, 1, sizes, first, count, labels));
  for (int64_t i = 0; i < count; i++)
    if (labels[i] < 0)
      return reap_error(REAP_ERR_INPUT, "%s: the label of image %lld is %lld; classes count from 0", dataset->path,
                        (long long)(first + i), (long long)labels[i]);
  return REAP_OK;
}
