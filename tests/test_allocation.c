/* Whole commands, in this process, in which one allocation of one rank fails.
 *
 * Of every command all of its allocations are counted on every rank first. Then it runs again and again: once for every
 * rank and every k with REAP_TEST_LONG=1, else for a fixed sample of them. Whichever allocation fails, all ranks have
 * to end with status 4 and give back what they hold, and no half of an output may be left. Where ranks do not end, each
 * tells where it stands.
 *
 * REAP_TEST_FAILING=RANK:K runs that one alone, REAP_TEST_PATIENCE=S waits S seconds for a run in place of 120.
 */
#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/commands/program.h"
#include "faults.h"
#include "harness.h"
#include "reap/comm.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "tiny_files.h"

const char *const test_suite_name = "allocation";

/* ------------------------------------------------------------------ the run under way */

static struct {
  const char *command;
  long long k;
  int rank, status;
  bool fired;
} now;

static int terminal = STDERR_FILENO; /* the run's own standard error is turned away */

static void write_text(const char *line) {
  if (write(terminal, line, strlen(line)) < 0) _exit(EXIT_FAILURE);
}

static void tell_run(const char *what) {
  char line[512];
  snprintf(line, sizeof line, "rank %d: %s: allocation %lld of rank %d failing: %s\n", test_rank(), what, now.k,
           now.rank, now.command);
  write_text(line);
}

/* Nothing can be saved: each rank says where it is, and leaves the others time to. */
static void give_up(const char *what) {
  void *frames[64];
  tell_run(what);
  faults_show(terminal);
  backtrace_symbols_fd(frames, backtrace(frames, 64), terminal);
  sleep(2);
  _exit(EXIT_FAILURE);
}

static void on_signal(int signal) { give_up(signal == SIGALRM ? "does not end" : "crashes"); }

static void on_mpi_error(MPI_Comm *comm, int *code, ...) {
  (void)comm, (void)code;
  give_up("ranks disagree on a call of MPI");
}

static void watch(void) {
  static const int signals[] = {SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
  static bool watching;
  void *frames[1];
  MPI_Errhandler handler;
  if (watching) return;
  watching = true;
  terminal = dup(STDERR_FILENO);
  MPI_Comm_create_errhandler(on_mpi_error, &handler);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, handler); /* communicators made later inherit it */
  MPI_Comm_set_errhandler(reap_comm_mpi(test_comm()), handler);
  MPI_Errhandler_free(&handler);
  backtrace(frames, 1); /* loads what it needs while there is time */
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(signals[i], &action, NULL);
  }
}

static unsigned patience(void) {
  const char *text = getenv("REAP_TEST_PATIENCE");
  return text ? (unsigned)atoi(text) : 120;
}

/* ------------------------------------------------------------------ what a run holds and leaves */

typedef struct holdings {
  int64_t blocks;
  int communicators, descriptors, objects; /* objects: of HDF5, open */
} holdings;

static int count_entries(const char *path) {
  DIR *folder = opendir(path);
  int count = 0;
  while (folder && readdir(folder)) count++;
  if (folder) closedir(folder);
  return count;
}

static holdings held(void) {
  return (holdings){reap_memory_live_blocks(), reap_comm_live(), count_entries("/proc/self/fd"),
                    (int)H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL)};
}

static bool same_holdings(const holdings *a, const holdings *b) {
  return a->blocks == b->blocks && a->communicators == b->communicators && a->descriptors == b->descriptors &&
         a->objects == b->objects;
}

static void show_holdings(const char *what, const holdings *h) {
  fprintf(stderr, "  %s: %lld blocks, %d communicators, %d descriptors, %d objects of HDF5\n", what,
          (long long)h->blocks, h->communicators, h->descriptors, h->objects);
}

/* ------------------------------------------------------------------ output folders */

enum { MOST_FILES = 64 };

typedef struct listing {
  int count;
  char names[MOST_FILES][256];
  long long sizes[MOST_FILES];
} listing;

static void list(const char *folder, const char *below, listing *l) {
  char path[2048];
  snprintf(path, sizeof path, "%s/%s", folder, below);
  DIR *open = opendir(path);
  for (const struct dirent *e; open && (e = readdir(open));) {
    struct stat about;
    char name[512];
    if (e->d_name[0] == '.') continue;
    snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", e->d_name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (stat(path, &about) != 0) continue;
    if (S_ISDIR(about.st_mode)) {
      list(folder, name, l);
    } else if (l->count < MOST_FILES) {
      snprintf(l->names[l->count], sizeof l->names[0], "%.255s", name);
      l->sizes[l->count++] = (long long)about.st_size;
    }
  }
  if (open) closedir(open);
}

static long long size_in(const listing *l, const char *name) {
  for (int i = 0; i < l->count; i++)
    if (strcmp(l->names[i], name) == 0) return l->sizes[i];
  return -1;
}

/* JSON tells seconds, and is as long as they are; a sweep has the settings that did not fail. */
static bool may_differ(const char *name) {
  const size_t length = strlen(name);
  return strncmp(name, "sweep.", 6) == 0 || (length > 5 && strcmp(name + length - 5, ".json") == 0);
}

/* What is there has to be whole: of a file that an undisturbed run writes, and of its size. */
static bool whole_files(const char *folder, const listing *wanted) {
  listing found = {0};
  bool whole = true;
  list(folder, "", &found);
  for (int i = 0; i < found.count; i++) {
    const long long size = size_in(wanted, found.names[i]);
    const bool good = size >= 0 && (size == found.sizes[i] || (may_differ(found.names[i]) && found.sizes[i] > 0));
    if (!good) fprintf(stderr, "  left: %s (%lld bytes, wanted %lld)\n", found.names[i], found.sizes[i], size);
    whole = whole && good;
  }
  return whole;
}

static void empty(const char *folder) {
  char path[2048];
  DIR *open = opendir(folder);
  for (const struct dirent *e; open && (e = readdir(open));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (unlink(path) == 0) continue;
    empty(path);
    rmdir(path);
  }
  if (open) closedir(open);
}

/* ------------------------------------------------------------------ running commands */

enum { MOST_WORDS = 64 };

/* The words of a line; "@NAME" is an input, ">NAME" an output: files of the scratch folder. */
static int split_line(const char *line, char *store, size_t size, char **argv) {
  int argc = 0;
  char copy[1024], *at = store;
  snprintf(copy, sizeof copy, "reap %s", line);
  for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
    CU_ASSERT_TRUE_FATAL(argc < MOST_WORDS - 1 && (size_t)(at - store) + 1200 < size);
    argv[argc++] = at;
    if (*word == '@')
      strcpy(at, test_scratch_path(word + 1));
    else if (*word == '>')
      sprintf(at, "%s/%s", test_scratch_path("out"), word + 1);
    else
      strcpy(at, word);
    at += strlen(at) + 1;
  }
  argv[argc] = NULL;
  return argc;
}

/* Collective. What the command prints is of no interest here. */
static int run_quietly(const char *line) {
  static char store[1 << 16];
  char *argv[MOST_WORDS];
  const int argc = split_line(line, store, sizeof store, argv);
  fflush(stdout);
  fflush(stderr);
  const int null = open("/dev/null", O_WRONLY), out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
  dup2(null, STDOUT_FILENO);
  if (!getenv("REAP_TEST_FAILING")) dup2(null, STDERR_FILENO);
  close(null);
  const int status = program_run(test_comm(), argc, argv);
  fflush(stdout);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  close(out);
  close(err);
  return status;
}

/* Collective, with the k-th allocation of `rank` failing (0: none): status, and in now.fired whether it came to that.
 */
static int run_failing(const char *line, int rank, int64_t k, int64_t *calls) {
  now.command = line;
  now.k = k;
  now.rank = rank;
  alarm(patience());
  faults_arm(rank == test_rank() ? k : 0);
  const int status = run_quietly(line);
  *calls = faults_disarm();
  int fired = faults_fired();
  MPI_Allreduce(MPI_IN_PLACE, &fired, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  alarm(0);
  now.fired = fired;
  return status;
}

/* Collective. Whether the ranks end alike and as is wanted. */
static bool check_status(int status) {
  int least = status, most = status;
  MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  const int wanted = now.fired ? REAP_ERR_RESOURCE : REAP_OK;
  const bool good = least == wanted && most == wanted;
  if (!good) {
    tell_run("ends badly");
    fprintf(stderr, "  status %d, wanted %d: %s\n", status, wanted, status == REAP_OK ? "" : reap_error_message());
  }
  return good;
}

/* Collective. One failure; everything that has to hold afterwards. */
static void try_failure(const char *line, int rank, int64_t k, const listing *wanted) {
  int64_t calls;
  const holdings before = held();
  bool good = check_status(run_failing(line, rank, k, &calls));
  const holdings after = held();
  if (!same_holdings(&before, &after)) {
    tell_run("leaks");
    show_holdings("before", &before);
    show_holdings("after", &after);
    good = false;
  }
  if (test_rank() == 0 && now.fired && !whole_files(test_scratch_path("out"), wanted)) {
    tell_run("leaves files");
    good = false;
  }
  CU_ASSERT_TRUE(good);
  int all = good;
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (!all) faults_show(STDERR_FILENO);
  if (test_rank() == 0) empty(test_scratch_path("out"));
  MPI_Barrier(MPI_COMM_WORLD);
}

/* Collective: the figures of an undisturbed run, which has to do well. */
static int64_t count_calls(const char *line, listing *files) {
  int64_t calls = 0;
  const int status = run_failing(line, 0, 0, &calls);
  if (status != REAP_OK) test_show_error(__FILE__, __LINE__, line, status);
  CU_ASSERT_EQUAL_FATAL(status, REAP_OK);
  memset(files, 0, sizeof *files);
  if (test_rank() == 0) {
    list(test_scratch_path("out"), "", files);
    empty(test_scratch_path("out"));
  }
  MPI_Barrier(MPI_COMM_WORLD);
  return calls;
}

/* Failures of one rank: all of its calls, or one of each of `sample` stretches of them. */
static void try_rank(const char *line, int rank, int64_t calls, int sample, const listing *wanted) {
  const char *only = getenv("REAP_TEST_FAILING"), *all = getenv("REAP_TEST_LONG");
  if (only) {
    if (atoi(only) == rank) try_failure(line, rank, atoll(strchr(only, ':') + 1), wanted);
    return;
  }
  if ((all && *all && *all != '0') || calls <= sample) {
    for (int64_t k = 1; k <= calls; k++) try_failure(line, rank, k, wanted);
    return;
  }
  reap_random random = reap_random_init(11, (uint64_t)rank, (uint64_t)calls);
  for (int i = 0; i < sample; i++) {
    const int64_t first = 1 + calls * i / sample, next = 1 + calls * (i + 1) / sample;
    try_failure(line, rank, first + reap_random_below(&random, next - first), wanted);
  }
}

/* Collective. `sample` is that of all ranks together. */
static void try_command(const char *line, int sample) {
  static listing wanted;
  int64_t calls[16] = {0};
  CU_ASSERT_TRUE_FATAL(test_ranks() <= 16);
  watch();
  count_calls(line, &wanted); /* what stays for good (caches, buffers of libraries) is there now */
  calls[test_rank()] = count_calls(line, &wanted);
  MPI_Allreduce(MPI_IN_PLACE, calls, 16, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  if (test_rank() == 0) {
    printf("\n    allocations a rank:");
    for (int r = 0; r < test_ranks(); r++) printf(" %lld", (long long)calls[r]);
    printf("  ");
    fflush(stdout);
  }
  for (int r = 0; r < test_ranks(); r++)
    try_rank(line, r, calls[r], (sample + test_ranks() - 1) / test_ranks(), &wanted);
  count_calls(line, &wanted); /* nothing of it lasts */
}

/* ------------------------------------------------------------------ the commands */

/* Made by the program itself: what commands go on from. */
static void make_inputs(void) {
  static const char *const lines[] = {
      "stats @net.onnx --calib @calib.h5 -o @stats.h5 --activations @activations.h5 --images 20",
      "stats @net.onnx --calib @eval.h5 -o @more.h5",
      "prune @net.onnx --calib @calib.h5 --keep 0.5 -o @pruned.h5",
      "paths @net.onnx --calib @calib.h5 -o @paths.h5",
  };
  static bool made;
  if (made) return;
  made = true;
  if (test_rank() == 0) {
    mkdir(test_scratch_path("out"), 0777);
    mkdir(test_scratch_path("scratch"), 0777);
    empty(test_scratch_path("out"));
    tiny_network("net.onnx");
    tiny_images(test_scratch_path("calib.h5"), 1);
    tiny_images(test_scratch_path("eval.h5"), 2);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    const int status = run_quietly(lines[i]);
    if (status != REAP_OK) test_show_error(__FILE__, __LINE__, lines[i], status);
    CU_ASSERT_EQUAL_FATAL(status, REAP_OK);
  }
}

#define COMMAND(name, sample, line) \
  static void name(void) {          \
    make_inputs();                  \
    try_command(line, sample);      \
  }

COMMAND(inspect, 30, "inspect @net.onnx")
COMMAND(inspect_json, 30, "inspect @net.onnx --json --estimate 2")
COMMAND(eval, 30, "eval @pruned.h5 --data @eval.h5 --against @net.onnx --outputs >o.h5 --report >r.json")
COMMAND(prune, 60,
        "prune @net.onnx --calib @calib.h5 --flops 0.6 -o >p.h5 --onnx >p.onnx --eval @eval.h5 --report >r.json "
        "--save-plan >plan.json --save-paths >paths.h5 --save-stats >s.h5 --activations >a.h5")
COMMAND(prune_spread, 30, "prune @net.onnx --calib @calib.h5 --keep 0.5 --solver scalapack -o >p.h5")
COMMAND(prune_ridge, 30, "prune @net.onnx --calib @calib.h5 --keep 0.5 --ridge auto --positions 4 -o >p.h5")
COMMAND(prune_stored, 30, "prune @net.onnx --from-stats @stats.h5 --flops 0.6 -o >p.h5")
COMMAND(sweep, 30,
        "sweep @net.onnx --calib @calib.h5 --eval @eval.h5 --flops 0.7 --ratios path --method reap,l1 --save-models "
        "onnx -o >sweep.h5")
COMMAND(stats, 30, "stats @net.onnx --calib @calib.h5 -o >s.h5 --activations >a.h5 --all")
COMMAND(stats_panels, 30, "stats @net.onnx --calib @calib.h5 -o >s.h5 --panels")
COMMAND(stats_stored, 30, "stats --from @activations.h5 -o >s.h5")
COMMAND(paths, 30, "paths @net.onnx --calib @calib.h5 -o >p.h5")
COMMAND(merge, 30, "merge @stats.h5 @more.h5 -o >m.h5")
COMMAND(solve, 30, "solve @stats.h5 --keep 0.5 -o >path.h5")
COMMAND(solve_spread, 30, "solve @stats.h5 --keep 0.5 --solver scalapack -o >path.h5")
COMMAND(export, 30, "export @pruned.h5 >e.onnx")

/* ------------------------------------------------------------------ communicators */

/* Whichever rank has no memory for its handle: none gets one, and none waits. */
static void communicators(void) {
  watch();
  for (int r = 0; r < test_ranks(); r++) {
    reap_comm *comm = NULL;
    now.command = "(making a communicator)";
    now.k = 1;
    now.rank = r;
    alarm(patience());
    faults_arm(r == test_rank());
    CHECK_FAILS(reap_comm_create(MPI_COMM_WORLD, &comm), REAP_ERR_RESOURCE, "out of memory");
    CU_ASSERT_PTR_NULL(comm);
    faults_arm(r == test_rank());
    CHECK_FAILS(reap_comm_split(test_comm(), test_rank() % 2, &comm), REAP_ERR_RESOURCE, "out of memory");
    CU_ASSERT_PTR_NULL(comm);
    faults_disarm();
    alarm(0);
  }
}

const test_case test_cases[] = {{"communicators", communicators},
                                {"inspect", inspect},
                                {"inspect as JSON, with an estimate", inspect_json},
                                {"eval", eval},
                                {"prune", prune},
                                {"prune, solved by all ranks", prune_spread},
                                {"prune, ridge by held-out images", prune_ridge},
                                {"prune from stored moments", prune_stored},
                                {"sweep", sweep},
                                {"stats", stats},
                                {"stats by panels", stats_panels},
                                {"stats of stored activations", stats_stored},
                                {"paths", paths},
                                {"merge", merge},
                                {"solve", solve},
                                {"solve, by all ranks", solve_spread},
                                {"export", export},
                                {NULL, NULL}};
