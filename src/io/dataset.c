/* Data sets of images: reading a range of images as the network sees them. */
#include "reap/dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "io/hdf5/hdf5_util.h"
#include "read_ahead.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Images are read in pieces of about this size, whatever the caller asks for. */
static const int64_t PIECE_BYTES = (int64_t)16 << 20;
static const size_t MAX_CHUNK_CACHE = (size_t)256 << 20;

enum { LEVELS = 256, MAX_CHANNELS = 1 << 16 };

/* Whole numbers beyond do not all fit float32. */
static const float MOST_WHOLE = 16777216;

/* What one input of the network is given. */
typedef struct data_input {
  char *name, *place; /* of the input, NULL: whatever it is called; of the data set in the file */
  hid_t data;
  int rank;
  int64_t dims[REAP_MAX_RANK];             /* [images, channels, ...] */
  int64_t channels, positions, image_size; /* image_size: channels * positions */
  bool is_bytes, is_whole, is_raw;         /* is_raw: the network sees the bytes as they are */
  float *table;                            /* [channels, LEVELS] what each byte becomes; NULL for other types */
  void *piece;                             /* [piece_images, image_size] as stored */
  int64_t piece_images;
  read_ahead ahead;
} data_input;

struct reap_dataset {
  char *path;
  hid_t file, labels; /* labels: REAP_H5_NONE if there are none */
  int64_t count;
  int n_inputs;
  data_input *inputs;
  float least, greatest; /* of what was read */
};

/* Attributes belong to the data set; on the file itself they are taken as well. */
static hid_t attribute_owner(const reap_dataset *dataset, const data_input *x, const char *name) {
  bool on_file = !reap_h5_has_attribute(x->data, name) && reap_h5_has_attribute(dataset->file, name);
  return on_file ? dataset->file : x->data;
}

/* Other ranks than that of images have no names for their axes. */
static int check_layout(const reap_dataset *dataset, const data_input *x) {
  char *layout = NULL;
  if (x->rank != 4) return REAP_OK;
  REAP_TRY(reap_h5_read_string(attribute_owner(dataset, x, "layout"), "layout", &layout));
  int status = REAP_OK;
  if (strcmp(layout, "NCHW") != 0)
    status = reap_error(REAP_ERR_INPUT, "%s: the layout of \"%s\" is \"%s\"; store them as NCHW", dataset->path,
                        x->place, layout);
  reap_free(&layout);
  return status;
}

static int read_factors(const reap_dataset *dataset, const data_input *x, const char *name, int64_t count,
                        bool positive, double *out) {
  REAP_TRY(reap_h5_read_numbers(attribute_owner(dataset, x, name), name, count, out));
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

static int make_table(const reap_dataset *dataset, data_input *x) {
  double scale = 0, *mean = NULL, *std = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&mean, x->channels, sizeof *mean), done);
  REAP_TRY_OR(reap_alloc(&std, x->channels, sizeof *std), done);
  REAP_TRY_OR(read_factors(dataset, x, "scale", 1, true, &scale), done);
  REAP_TRY_OR(read_factors(dataset, x, "mean", x->channels, false, mean), done);
  REAP_TRY_OR(read_factors(dataset, x, "std", x->channels, true, std), done);
  REAP_TRY_OR(reap_alloc(&x->table, x->channels * LEVELS, sizeof *x->table), done);
  x->is_raw = (float)scale == 1;
  for (int64_t c = 0; c < x->channels; c++) {
    x->is_raw = x->is_raw && (float)mean[c] == 0 && (float)std[c] == 1;
    for (int level = 0; level < LEVELS; level++)
      x->table[c * LEVELS + level] = normalise(level, (float)scale, (float)mean[c], (float)std[c]);
  }
done:
  reap_free(&mean);
  reap_free(&std);
  return status;
}

static int check_type(const reap_dataset *dataset, data_input *x, H5T_class_t *type_class) {
  size_t bytes = 0;
  bool is_signed = false;
  REAP_TRY(reap_h5_type(x->data, x->place, type_class, &bytes, &is_signed));
  x->is_bytes = *type_class == H5T_INTEGER && bytes == 1 && !is_signed;
  x->is_whole = *type_class == H5T_INTEGER && !x->is_bytes;
  if (x->is_bytes || (*type_class == H5T_FLOAT && (bytes == 4 || bytes == 8)) || (x->name && x->is_whole))
    return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s: \"%s\" have to be uint8 or float32%s", dataset->path, x->place,
                    x->name ? ", or whole numbers" : "");
}

static int check_data(reap_dataset *dataset, data_input *x) {
  H5T_class_t type_class;
  int64_t *dims = x->dims, total = 0;
  REAP_TRY(check_type(dataset, x, &type_class));
  REAP_TRY(reap_h5_shape(x->data, x->place, x->name ? 1 : 2, REAP_MAX_RANK, &x->rank, dims));
  for (int i = 0; i < x->rank; i++)
    if (dims[i] < 1)
      return reap_error(REAP_ERR_INPUT, "%s: \"%s\" is empty: dimension %d is 0", dataset->path, x->place, i);
  const int64_t channels = x->rank > 1 ? dims[1] : 1;
  if (reap_product(dims, x->rank, &total) != REAP_OK || total > INT64_MAX / 8 ||
      (channels > MAX_CHANNELS && (x->is_bytes || x->rank > 2)))
    return reap_error(REAP_ERR_INPUT, "%s: \"%s\" has an impossible size", dataset->path, x->place);
  if (dataset->count == 0) dataset->count = dims[0];
  if (dims[0] != dataset->count)
    return reap_error(REAP_ERR_INPUT, "%s: \"%s\" has %lld entries, \"%s\" %lld; store one of each for every image",
                      dataset->path, x->place, (long long)dims[0], dataset->inputs[0].place, (long long)dataset->count);
  x->channels = channels;
  x->image_size = total / dims[0];
  x->positions = x->image_size / channels;
  return reap_h5_check_stored(x->data, x->place, type_class);
}

/* Opens the data set again with a cache that holds whole chunks: HDF5's default of 1 MB would unpack a chunk of larger
 * images anew for every piece. */
static int widen_chunk_cache(const reap_dataset *dataset, data_input *x) {
  hid_t list = H5Dget_create_plist(x->data), access = REAP_H5_NONE;
  hsize_t chunk[REAP_MAX_RANK];
  size_t bytes = x->is_bytes ? 1 : 8;
  bool chunked = list >= 0 && H5Pget_layout(list) == H5D_CHUNKED && H5Pget_chunk(list, x->rank, chunk) == x->rank;
  for (int i = 0; chunked && i < x->rank; i++)
    bytes = chunk[i] < MAX_CHUNK_CACHE ? bytes * (size_t)chunk[i] : MAX_CHUNK_CACHE;
  reap_h5_close(&list);
  if (!chunked || bytes > MAX_CHUNK_CACHE / 2) return REAP_OK;
  access = H5Pcreate(H5P_DATASET_ACCESS);
  if (access < 0 || H5Pset_chunk_cache(access, 521, 2 * bytes + ((size_t)1 << 20), H5D_CHUNK_CACHE_W0_DEFAULT) < 0) {
    reap_h5_close(&access);
    return REAP_OK; /* only slower */
  }
  hid_t again = H5Dopen2(dataset->file, x->place, access);
  if (again >= 0) {
    reap_h5_close(&x->data);
    x->data = again;
  }
  reap_h5_close(&access);
  return REAP_OK;
}

static int open_labels(reap_dataset *dataset) {
  if (!reap_h5_has(dataset->file, "labels")) return REAP_OK;
  return reap_h5_expect(dataset->file, "labels", H5T_INTEGER, 1, &dataset->count, &dataset->labels);
}

/* Reads about the data set at `place` in the file. */
static int open_input(reap_dataset *dataset, data_input *x, const char *name, const char *place) {
  REAP_TRY(reap_strdup(&x->name, name));
  REAP_TRY(reap_strdup(&x->place, place));
  REAP_TRY(reap_h5_open_dataset(dataset->file, place, &x->data));
  REAP_TRY(check_data(dataset, x));
  REAP_TRY(check_layout(dataset, x));
  if (x->is_bytes) REAP_TRY(make_table(dataset, x));
  REAP_TRY(widen_chunk_cache(dataset, x));
  const int64_t element = x->is_bytes ? 1 : (int64_t)sizeof(float);
  x->ahead = reap_read_ahead_open(dataset->path, x->data, dataset->count, x->image_size * element);
  return REAP_OK;
}

static int make_inputs(reap_dataset *dataset, int64_t count) {
  REAP_TRY(reap_calloc(&dataset->inputs, count, sizeof *dataset->inputs));
  for (; dataset->n_inputs < count; dataset->n_inputs++) {
    dataset->inputs[dataset->n_inputs].data = REAP_H5_NONE;
    dataset->inputs[dataset->n_inputs].ahead.descriptor = -1;
  }
  return REAP_OK;
}

/* The group "inputs": a data set for each, with its name. */
static int open_named(reap_dataset *dataset) {
  char **names = NULL;
  int64_t count = 0;
  hid_t group = REAP_H5_NONE;
  int status = reap_h5_open_group(dataset->file, "inputs", &group);
  if (status == REAP_OK) status = reap_h5_list(group, &count, &names);
  if (status == REAP_OK && (count < 1 || count > REAP_MOST_INPUTS))
    status = reap_error(REAP_ERR_INPUT, "%s: \"inputs\" holds %lld data sets; 1 to %d are read", dataset->path,
                        (long long)count, REAP_MOST_INPUTS);
  if (status == REAP_OK) status = make_inputs(dataset, count);
  for (int64_t k = 0; status == REAP_OK && k < count; k++) {
    char *place = NULL;
    status = reap_format(&place, "inputs/%s", names[k]);
    if (status == REAP_OK) status = open_input(dataset, &dataset->inputs[k], names[k], place);
    reap_free(&place);
  }
  reap_h5_free_names(count, &names);
  reap_h5_close(&group);
  return status;
}

/* Images in other forms, which a script converts. */
static int refuse_other_forms(const char *path) {
  struct stat about;
  const char *ending = strrchr(path, '.');
  const bool arrays = ending && (strcmp(ending, ".npy") == 0 || strcmp(ending, ".npz") == 0);
  if (stat(path, &about) != 0 || (!S_ISDIR(about.st_mode) && !arrays)) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s: is %s; datasets/convert.py makes a data set (.h5) of it", path,
                    arrays ? "a file of NumPy's, not an HDF5 file" : "a folder, not a regular file");
}

static int open_parts(reap_dataset *dataset) {
  REAP_TRY(refuse_other_forms(dataset->path));
  REAP_TRY(reap_h5_open(dataset->path, &dataset->file));
  if (!reap_h5_has(dataset->file, "images") && reap_h5_has(dataset->file, "inputs")) {
    REAP_TRY(open_named(dataset));
  } else {
    REAP_TRY(make_inputs(dataset, 1));
    REAP_TRY(open_input(dataset, &dataset->inputs[0], NULL, "images"));
  }
  return open_labels(dataset);
}

int reap_dataset_open(const char *path, reap_dataset **out) {
  reap_dataset *dataset = NULL;
  REAP_TRY(reap_calloc(&dataset, 1, sizeof *dataset));
  dataset->least = INFINITY;
  dataset->greatest = -INFINITY;
  dataset->file = dataset->labels = REAP_H5_NONE;
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
  for (int k = 0; k < dataset->n_inputs; k++) {
    data_input *x = &dataset->inputs[k];
    reap_read_ahead_close(&x->ahead);
    reap_h5_close(&x->data);
    reap_free(&x->piece);
    reap_free(&x->table);
    reap_free(&x->place);
    reap_free(&x->name);
  }
  reap_free(&dataset->inputs);
  reap_h5_close(&dataset->labels);
  reap_h5_close(&dataset->file);
  reap_free(&dataset->path);
  reap_free(handle);
}

const char *reap_dataset_path(const reap_dataset *dataset) { return dataset->path; }

/* HDF5 takes "/" for a group: "." stands for it. */
static bool is_for(const data_input *x, const char *name) {
  const char *own = x->name;
  for (; own && *own && (*own == *name || (*own == '.' && *name == '/')); own++) name++;
  return !own || (!*own && !*name);
}

int reap_dataset_find(const reap_dataset *dataset, const char *name) {
  for (int k = 0; k < dataset->n_inputs; k++)
    if (is_for(&dataset->inputs[k], name)) return k;
  return -1;
}

const char *reap_dataset_input_name(const reap_dataset *dataset, int input) {
  return input < dataset->n_inputs ? dataset->inputs[input].name : NULL;
}

int reap_dataset_shape(const reap_dataset *dataset, int input, int64_t dims[REAP_MAX_RANK]) {
  const data_input *x = &dataset->inputs[input];
  memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
  return x->rank;
}

int64_t reap_dataset_images(const reap_dataset *dataset) { return dataset->count; }
bool reap_dataset_is_raw(const reap_dataset *dataset, int input) {
  return dataset->inputs[input].is_raw || dataset->inputs[input].is_whole;
}

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

static int make_piece(const reap_dataset *dataset, data_input *x) {
  if (x->piece) return REAP_OK;
  int64_t bytes = x->image_size * (x->is_bytes ? 1 : (int64_t)sizeof(float));
  int64_t images = PIECE_BYTES / bytes > 0 ? PIECE_BYTES / bytes : 1;
  if (images > dataset->count) images = dataset->count;
  REAP_TRY(reap_alloc(&x->piece, images, (size_t)bytes));
  x->piece_images = images;
  return REAP_OK;
}

/* [channels, positions] through the table, to [positions, channels] or as they lie. */
static void convert_bytes(const data_input *x, bool channels_last, const uint8_t *from, float *to) {
  const int64_t channels = x->channels, positions = x->positions;
  const int64_t step = channels_last ? channels : 1, next = channels_last ? 1 : positions;
  for (int64_t c = 0; c < channels; c++) {
    const float *table = x->table + c * LEVELS;
    for (int64_t p = 0; p < positions; p++) to[p * step + c * next] = table[from[c * positions + p]];
  }
}

static bool convert_floats(const data_input *x, bool channels_last, const float *from, float *to) {
  const int64_t channels = x->channels, positions = x->positions;
  bool finite = true;
  for (int64_t i = 0; i < x->image_size; i++) finite &= isfinite(from[i]) != 0;
  if (!channels_last) memcpy(to, from, (size_t)x->image_size * sizeof *to);
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

static int refuse_numbers(const reap_dataset *dataset, const data_input *x, int64_t image) {
  char place[64] = "";
  if (x->name) snprintf(place, sizeof place, " of \"%.40s\"", x->place);
  return reap_error(
      REAP_ERR_INPUT, "%s: image %lld%s holds %s; remove or repair it", dataset->path, (long long)image, place,
      x->is_whole ? "a number beyond 2^24, which float32 cannot tell from the next one" : "a NaN or an infinity");
}

static bool small_numbers(const data_input *x, const float *from) {
  bool small = true;
  for (int64_t i = 0; x->is_whole && i < x->image_size; i++) small &= fabsf(from[i]) <= MOST_WHOLE;
  return small;
}

static int read_piece(reap_dataset *dataset, data_input *x, int64_t first, int64_t count, bool channels_last,
                      float *images) {
  hsize_t sizes[REAP_MAX_RANK];
  for (int i = 0; i < x->rank; i++) sizes[i] = (hsize_t)x->dims[i];
  hid_t type = x->is_bytes ? H5T_NATIVE_UINT8 : H5T_NATIVE_FLOAT;
  REAP_TRY(read_rows(dataset, x->data, x->place, type, x->rank, sizes, first, count, x->piece));
  for (int64_t i = 0; i < count; i++) {
    float *to = images + i * x->image_size;
    const float *from = (const float *)x->piece + i * x->image_size;
    if (x->is_bytes)
      convert_bytes(x, channels_last, (const uint8_t *)x->piece + i * x->image_size, to);
    else if (!convert_floats(x, channels_last, from, to) || !small_numbers(x, from))
      return refuse_numbers(dataset, x, first + i);
  }
  return REAP_OK;
}

void reap_dataset_range(const reap_dataset *dataset, double *least, double *greatest) {
  *least = (double)dataset->least;
  *greatest = (double)dataset->greatest;
}

int reap_dataset_read(reap_dataset *dataset, int input, int64_t first, int64_t count, bool channels_last,
                      float *images) {
  data_input *x = &dataset->inputs[input];
  REAP_TRY(check_range(dataset, first, count));
  REAP_TRY(make_piece(dataset, x));
  for (int64_t done = 0; done < count;) {
    int64_t n = count - done < x->piece_images ? count - done : x->piece_images;
    REAP_TRY(read_piece(dataset, x, first + done, n, channels_last, images + done * x->image_size));
    done += n;
  }
  for (int64_t i = 0; i < count * x->image_size; i++) {
    dataset->least = images[i] < dataset->least ? images[i] : dataset->least;
    dataset->greatest = images[i] > dataset->greatest ? images[i] : dataset->greatest;
  }
  reap_read_ahead_advise(&x->ahead, first + count, count); /* the next block, while this one is computed */
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
