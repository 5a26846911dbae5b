/* Changes single bytes of an HDF5 file, one at a time, and reads the file each time as the commands do, in a process of
 * its own.
 *
 *   hostile_hdf5 KIND FILE SEED COUNT      KIND: data, stats, activations, paths, setting or model
 *
 * The process has to end by itself within 10 s and with a status of reap (read, or refused), and may take 200 MB beside
 * what the sound file takes. Reads come after the probe, as in the program; what the HDF5 library alone does not
 * survive is counted. Every failure names the byte and its value. The file is left as it was.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/activations_file.h"
#include "io/onnx/source.h"
#include "io/paths_file.h"
#include "io/probe.h"
#include "io/sweep_file.h"
#include "reap/dataset.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/stats_file.h"

enum { SECONDS = 10, PROBED = 100 };
static const long MOST_KILOBYTES = 200 * 1024;

/* ------------------------------------------------------------------ readers */

static int read_data(const char *path) {
  reap_dataset *data = NULL;
  float *images = NULL;
  int64_t *labels = NULL, dims[REAP_MAX_RANK], image = 0;
  REAP_TRY(reap_dataset_open(path, &data));
  const int rank = reap_dataset_shape(data, 0, dims);
  const int64_t count = dims[0] < 16 ? dims[0] : 16; /* a block */
  int status = reap_product(dims + 1, rank - 1, &image);
  if (status == REAP_OK) status = reap_alloc(&images, count * image, sizeof *images);
  if (status == REAP_OK) status = reap_alloc(&labels, count, sizeof *labels);
  if (status == REAP_OK) status = reap_dataset_read(data, 0, 0, count, true, images);
  if (status == REAP_OK && reap_dataset_has_labels(data)) status = reap_dataset_read_labels(data, 0, count, labels);
  reap_free(&images);
  reap_free(&labels);
  reap_dataset_close(&data);
  return status;
}

static int read_stats(const char *path) {
  reap_stats_file *file = NULL;
  reap_origin origin = {0};
  REAP_TRY(reap_stats_file_open(path, &file));
  int status = reap_stats_file_origin(file, &origin);
  for (int i = 0; status == REAP_OK && i < reap_stats_file_layers(file); i++) {
    reap_moments *moments = NULL;
    char *node = NULL;
    status = reap_stats_file_node(file, i, &node);
    if (status == REAP_OK) status = reap_stats_file_read(file, i, &moments);
    reap_moments_destroy(&moments);
    reap_free(&node);
  }
  reap_origin_clear(&origin);
  reap_stats_file_close(&file);
  return status;
}

static int read_activations(const char *path) {
  reap_activations_reader *reader = NULL;
  REAP_TRY(reap_activations_open(path, &reader));
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK && i < reap_activations_layers(reader); i++) {
    const reap_activations_layer *l = reap_activations_layer_at(reader, i);
    const int64_t rows = l->rows < 64 ? l->rows : 64;
    float *x = NULL, *y = NULL;
    status = reap_alloc(&x, rows * l->channels * l->block, sizeof *x);
    if (status == REAP_OK) status = reap_alloc(&y, rows * l->m, sizeof *y);
    if (status == REAP_OK) status = reap_activations_read(reader, i, l->rows - rows, rows, x, y);
    reap_free(&x);
    reap_free(&y);
  }
  reap_activations_close(&reader);
  return status;
}

static int read_paths(const char *path) {
  reap_group_paths *paths = NULL;
  const int status = reap_paths_file_read(path, &paths);
  reap_group_paths_destroy(&paths);
  return status;
}

static int read_setting(const char *path) {
  reap_sweep_setting setting;
  const reap_sweep_origin origin = {0, NULL};
  const int status = reap_sweep_setting_read(path, &origin, &setting);
  if (status == REAP_OK) reap_sweep_setting_clear(&setting);
  return status;
}

static int read_model(const char *path) {
  reap_source *source = NULL;
  const int status = reap_source_load(path, &source);
  reap_source_destroy(&source);
  return status;
}

static const struct {
  const char *kind;
  int (*read)(const char *path);
} readers[] = {{"data", read_data},   {"stats", read_stats},     {"activations", read_activations},
               {"paths", read_paths}, {"setting", read_setting}, {"model", read_model}};

/* ------------------------------------------------------------------ one attempt */

typedef struct outcome {
  int status; /* of the process, as waitpid tells it */
  long kilobytes;
} outcome;

static int child(int (*read_file)(const char *path), const char *path) {
  const int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
  alarm(SECONDS);
  if (reap_probe_file(path) != REAP_OK) return PROBED;
  return read_file(path);
}

static outcome attempt(int (*read_file)(const char *path), const char *path) {
  struct rusage usage;
  outcome o = {-1, 0};
  const pid_t process = fork();
  if (process == 0) _exit(child(read_file, path));
  if (process > 0 && wait4(process, &o.status, 0, &usage) == process) o.kilobytes = usage.ru_maxrss;
  return o;
}

static const char *fault(outcome o, long sound_kilobytes) {
  if (o.status == -1) return "no process";
  if (WIFSIGNALED(o.status)) return WTERMSIG(o.status) == SIGALRM ? "no end within 10 s" : "a crash";
  const int status = WEXITSTATUS(o.status);
  if (status != REAP_OK && status != REAP_ERR_INPUT && status != REAP_ERR_RESOURCE && status != REAP_ERR_NUMERIC &&
      status != PROBED)
    return "a status that tells of a bug";
  return o.kilobytes > sound_kilobytes + MOST_KILOBYTES ? "too much memory" : NULL;
}

/* ------------------------------------------------------------------ bytes */

static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Structure is full of zeros, numbers hardly have any: a byte with a zero within four is most likely structure. */
static bool is_structure(const unsigned char *bytes, size_t count, size_t at) {
  const size_t from = at < 4 ? 0 : at - 4, to = at + 4 < count ? at + 4 : count;
  return memchr(bytes + from, 0, to - from) != NULL;
}

static size_t choose_byte(const unsigned char *bytes, size_t count, uint64_t *state) {
  size_t at = 0;
  for (int tries = 0; tries < 1000; tries++) {
    at = next_random(state) % count;
    if (is_structure(bytes, count, at)) break;
  }
  return at;
}

static unsigned char choose_value(unsigned char present, uint64_t *state) {
  const unsigned char others[] = {0, 255, (unsigned char)(present ^ 1u << next_random(state) % 8),
                                  (unsigned char)next_random(state)};
  const unsigned char value = others[next_random(state) % 4];
  return value != present ? value : (unsigned char)~present;
}

static bool load(const char *path, unsigned char **bytes, size_t *count) {
  FILE *f = fopen(path, "rb");
  if (!f) return false;
  fseek(f, 0, SEEK_END);
  *count = (size_t)ftell(f);
  rewind(f);
  *bytes = malloc(*count);
  const bool done = *bytes && *count > 0 && fread(*bytes, 1, *count, f) == *count;
  fclose(f);
  return done;
}

/* ------------------------------------------------------------------ all of them */

typedef struct tally {
  int read, refused, probed, failed;
} tally;

static void judge(tally *t, outcome o, const char *what, const char *path, size_t at, unsigned value) {
  if (what) {
    printf("FAILED: %s: byte %zu set to %u: %s (%ld kB)\n", path, at, value, what, o.kilobytes);
    t->failed++;
  } else if (WEXITSTATUS(o.status) == PROBED) {
    t->probed++;
  } else if (WEXITSTATUS(o.status) == REAP_OK) {
    t->read++;
  } else {
    t->refused++;
  }
}

int main(int argc, char **argv) {
  int (*read_file)(const char *path) = NULL;
  unsigned char *bytes = NULL;
  size_t count = 0;
  tally t = {0};
  for (size_t i = 0; argc == 5 && i < sizeof readers / sizeof readers[0]; i++)
    if (strcmp(argv[1], readers[i].kind) == 0) read_file = readers[i].read;
  if (!read_file || !load(argv[2], &bytes, &count)) {
    fprintf(stderr, "usage: hostile_hdf5 KIND FILE SEED COUNT\n");
    return 2;
  }
  uint64_t state = strtoull(argv[3], NULL, 10);
  const outcome sound = attempt(read_file, argv[2]);
  const int fd = open(argv[2], O_WRONLY);
  if (fd < 0 || !WIFEXITED(sound.status) || WEXITSTATUS(sound.status) != REAP_OK) {
    printf("FAILED: %s cannot be read as it is\n", argv[2]);
    return 1;
  }
  for (long i = strtol(argv[4], NULL, 10); i > 0; i--) {
    const size_t at = choose_byte(bytes, count, &state);
    const unsigned char value = choose_value(bytes[at], &state);
    if (pwrite(fd, &value, 1, (off_t)at) != 1) return 1;
    const outcome o = attempt(read_file, argv[2]);
    judge(&t, o, fault(o, sound.kilobytes), argv[2], at, value);
    if (pwrite(fd, &bytes[at], 1, (off_t)at) != 1) return 1;
  }
  printf("%s: %d read, %d refused, %d that HDF5 does not survive, %d failed\n", argv[1], t.read, t.refused, t.probed,
         t.failed);
  close(fd);
  free(bytes);
  return t.failed > 0;
}
