/* Readers of files from strangers under libFuzzer: whatever the bytes are, a reader serves them or refuses them with a
 * message, gives back all memory, and touches nothing that is not its own.
 *
 * One program; REAP_FUZZ_READER names the reader, REAP_FUZZ_NETWORK the network that plans are read for. The bytes
 * become a file in memory (/dev/shm, or TMPDIR), for readers take paths. See fuzz.sh, which builds it and makes what it
 * starts from.
 */
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/prune/latency_file.h"
#include "app/prune/plan_file.h"
#include "io/activations_file.h"
#include "io/onnx/source.h"
#include "io/paths_file.h"
#include "io/sweep_file.h"
#include "reap/dataset.h"
#include "reap/error.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "reap/stats_file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], path[96];
static reap_groups *groups; /* of the network that plans are for */

static int prepare(const reap_source *source, int64_t batch, reap_graph **out) {
  REAP_TRY(reap_source_graph(source, out));
  int status = reap_graph_prepare(*out, batch);
  if (status != REAP_OK) reap_graph_destroy(out);
  return status;
}

/* What reap inspect does with a network, and where its blocks are larger than one image. */
static int analyse(const reap_source *source) {
  reap_graph *graph = NULL, *larger = NULL;
  reap_groups *found = NULL;
  REAP_TRY(prepare(source, 1, &graph));
  if (prepare(source, reap_graph_block_size(graph), &larger) == REAP_OK) {
    reap_graph_destroy(&graph);
    graph = larger;
  }
  int status = reap_groups_find(graph, &found);
  if (status == REAP_OK && (reap_graph_flops(graph) < 0 || reap_graph_params(graph) < 0)) abort();
  reap_groups_destroy(&found);
  reap_graph_destroy(&graph);
  return status;
}

static int read_network(void) {
  reap_source *source = NULL;
  REAP_TRY(reap_source_load(path, &source));
  int status = analyse(source);
  reap_source_destroy(&source);
  return status;
}

static int read_last_image(reap_dataset *dataset, int input) {
  int64_t dims[REAP_MAX_RANK], size = 0;
  float *image = NULL;
  const int rank = reap_dataset_shape(dataset, input, dims);
  REAP_TRY(reap_product(dims + 1, rank - 1, &size)); /* an image fits into memory: the reader's promise */
  REAP_TRY(reap_alloc(&image, size, sizeof *image));
  const int status = reap_dataset_read(dataset, input, reap_dataset_images(dataset) - 1, 1, true, image);
  reap_free(&image);
  return status;
}

static int read_images(void) {
  reap_dataset *dataset = NULL;
  int64_t label = 0;
  REAP_TRY(reap_dataset_open(path, &dataset));
  const int64_t count = reap_dataset_images(dataset);
  int status = REAP_OK;
  for (int k = 0; status == REAP_OK && (k == 0 || reap_dataset_input_name(dataset, k)); k++)
    status = read_last_image(dataset, k);
  if (status == REAP_OK && reap_dataset_has_labels(dataset))
    status = reap_dataset_read_labels(dataset, count - 1, 1, &label);
  reap_dataset_close(&dataset);
  return status;
}

static int read_layer(reap_stats_file *file, int layer) {
  reap_moments *moments = NULL;
  reap_stats_source *source = NULL;
  char *node = NULL;
  int status = reap_stats_file_node(file, layer, &node);
  if (status == REAP_OK) status = reap_stats_file_read(file, layer, &moments);
  if (status == REAP_OK) status = reap_stats_source_open(file, layer, &source);
  reap_stats_source_close(&source);
  reap_moments_destroy(&moments);
  reap_free(&node);
  return status;
}

static int read_stats(void) {
  reap_stats_file *file = NULL;
  reap_origin origin = {0};
  REAP_TRY(reap_stats_file_open(path, &file));
  int status = reap_stats_file_origin(file, &origin);
  for (int i = 0; i < reap_stats_file_layers(file); i++) {
    const int read = read_layer(file, i);
    if (status == REAP_OK) status = read;
  }
  reap_origin_clear(&origin);
  reap_stats_file_close(&file);
  return status;
}

static int read_rows(reap_activations_reader *reader, int layer) {
  const reap_activations_layer *l = reap_activations_layer_at(reader, layer);
  const int64_t rows = l->rows < 4 ? l->rows : 4;
  float *inputs = NULL, *outputs = NULL;
  int status = reap_alloc(&inputs, rows * l->channels * l->block, sizeof *inputs);
  if (status == REAP_OK) status = reap_alloc(&outputs, rows * l->m, sizeof *outputs);
  if (status == REAP_OK) status = reap_activations_read(reader, layer, l->rows - rows, rows, inputs, outputs);
  reap_free(&inputs);
  reap_free(&outputs);
  return status;
}

static int read_activations(void) {
  reap_activations_reader *reader = NULL;
  int status = reap_activations_open(path, &reader);
  for (int i = 0; status == REAP_OK && i < reap_activations_layers(reader); i++) status = read_rows(reader, i);
  reap_activations_close(&reader);
  return status;
}

static int read_paths(void) {
  reap_group_paths *paths = NULL;
  const int status = reap_paths_file_read(path, &paths);
  reap_group_paths_destroy(&paths);
  return status;
}

static int read_setting(void) {
  const reap_sweep_origin origin = {0, NULL};
  reap_sweep_setting setting = {0};
  const int status = reap_sweep_setting_read(path, &origin, &setting);
  reap_sweep_setting_clear(&setting);
  return status;
}

static int read_plan(void) {
  const int count = reap_groups_count(groups);
  int64_t *counts = NULL, **given = NULL;
  int status = reap_calloc(&counts, count, sizeof *counts);
  if (status == REAP_OK) status = reap_calloc(&given, count, sizeof *given);
  if (status == REAP_OK) status = plan_file_read(path, groups, true, counts, given);
  for (int g = 0; given && g < count; g++) reap_free(&given[g]);
  reap_free(&counts);
  reap_free(&given);
  return status;
}

static int read_latency(void) {
  reap_latency *latency = NULL;
  const int status = latency_file_read(path, &latency);
  if (status == REAP_OK) cJSON_Delete(latency_file_make(latency));
  reap_latency_destroy(&latency);
  return status;
}

static const struct {
  const char *name;
  int (*read)(void);
  bool hdf5;
} readers[] = {{"onnx", read_network, false},           {"model", read_network, true},
               {"images", read_images, true},           {"stats", read_stats, true},
               {"activations", read_activations, true}, {"paths", read_paths, true},
               {"sweep", read_setting, true},           {"plan", read_plan, false},
               {"latency", read_latency, false}};
static int (*reader)(void);
static bool hdf5;

static void remove_files(void) {
  unlink(path);
  rmdir(folder);
  reap_groups_destroy(&groups);
}

static int load_groups(const char *network) {
  reap_source *source = NULL;
  reap_graph *graph = NULL;
  REAP_TRY(reap_source_load(network, &source));
  int status = prepare(source, 1, &graph);
  if (status == REAP_OK) status = reap_groups_find(graph, &groups);
  reap_graph_destroy(&graph);
  reap_source_destroy(&source);
  return status;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  const char *name = getenv("REAP_FUZZ_READER"), *network = getenv("REAP_FUZZ_NETWORK"), *temporary = getenv("TMPDIR");
  for (size_t i = 0; name && i < sizeof readers / sizeof readers[0]; i++)
    if (strcmp(readers[i].name, name) == 0) {
      reader = readers[i].read;
      hdf5 = readers[i].hdf5;
    }
  if (!reader || (reader == read_plan && (!network || load_groups(network) != REAP_OK))) {
    fprintf(stderr, "REAP_FUZZ_READER names no reader, or REAP_FUZZ_NETWORK no network: %s\n", reap_error_message());
    exit(EXIT_FAILURE);
  }
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  reap_log_set_level(REAP_LOG_QUIET);
  const bool shared = access("/dev/shm", W_OK) == 0;
  snprintf(folder, sizeof folder, "%.40s/reap-fuzz-XXXXXX", shared ? "/dev/shm" : temporary ? temporary : "/tmp");
  if (!mkdtemp(folder)) exit(EXIT_FAILURE);
  snprintf(path, sizeof path, "%s/file", folder);
  atexit(remove_files);
  return 0;
}

static void store(const uint8_t *data, size_t size) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) exit(EXIT_FAILURE); /* the disk is full: no finding */
  close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  store(data, size);
  const int64_t before = reap_memory_live_blocks();
  const int status = reader();
  /* HDF5 asks for memory of any size that a file names, and is told that there is none. */
  const bool refused = status == REAP_ERR_INPUT || (hdf5 && status == REAP_ERR_RESOURCE) ||
                       status == REAP_ERR_NUMERIC; /* moments that are no numbers, or not those of any data */
  if (status != REAP_OK && (!refused || !*reap_error_message())) {
    fprintf(stderr, "status %d: %s\n", status, reap_error_message());
    abort();
  }
  if (reap_memory_live_blocks() != before) {
    fprintf(stderr, "%lld blocks are not given back\n", (long long)(reap_memory_live_blocks() - before));
    abort();
  }
  if (H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL) != 0) {
    fprintf(stderr, "%lld HDF5 objects are not closed\n", (long long)H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL));
    abort();
  }
  return 0;
}
