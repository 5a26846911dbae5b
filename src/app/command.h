/* The commands of the program and what they share; private to src/app. */
#ifndef REAP_APP_COMMAND_H
#define REAP_APP_COMMAND_H

#include "app/options/options.h"
#include "app/progress/progress_view.h"
#include "io/onnx/source.h"
#include "reap/comm.h"
#include "reap/network.h"

/* In place of a run, command_begin() prints what the command's table of options tells. */
typedef enum document_kind { DOCUMENT_NONE, DOCUMENT_MAN_PAGE, DOCUMENT_COMPLETION } document_kind;

/* What main() hands to a command. */
typedef struct command_context {
  const reap_comm *comm;
  int argc; /* of the command's own words, argv[0] being its name */
  char **argv;
  const char *typed;    /* the whole command line as typed, for reports */
  const char *commit;   /* of the build; "unknown": it was made from an archive */
  options_given *given; /* empty: for command_begin() */
  document_kind document;
} command_context;

typedef struct command {
  const char *name, *synopsis, *summary;
  const char *parts; /* "a|b": what has to follow, with a summary of each ("...|..."); NULL: nothing */
  int (*run)(const command_context *context); /* collective; status of the run, the same on all ranks */
} command;

int command_inspect(const command_context *context);
int command_eval(const command_context *context);
int command_prune(const command_context *context);
int command_solve(const command_context *context);
int command_export(const command_context *context);
int command_bench(const command_context *context);
int command_bench_solve(const command_context *context);
int command_bench_layers(const command_context *context);
int command_stats(const command_context *context);
int command_sweep(const command_context *context);
int command_paths(const command_context *context);
int command_merge(const command_context *context);

/* Options that every computing command takes. */
typedef struct common_options {
  int64_t threads, stall; /* stall: seconds; 0: no limit */
  const char *kernels, *progress, *log_level;
  bool verbose;
} common_options;

/* In the order of reap_backend, reap_log_level, reap_solver and reap_measure. */
#define SOLVERS "auto|local|scalapack"
#define MEASURES "largest|sum"
#define KERNELS "auto|plain|onednn"
#define LOG_LEVELS "quiet|warning|info|debug"

#define COMMON_DEFAULTS \
  { .threads = 0, .kernels = "auto", .progress = "auto", .log_level = "info" }

/* clang-format off */
#define COMMON_OPTIONS(c)                                                                                           \
  {"Running:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},                                                          \
  {"--threads", NULL, OPTION_INT, "N", "threads of each rank (default: OMP_NUM_THREADS, else 1)", &(c).threads, 1}, \
  {"--kernels", NULL, OPTION_CHOICE, KERNELS,                                                                       \
   "how convolutions are computed (default auto: oneDNN if built in)", &(c).kernels, 0},                            \
  {"--progress", NULL, OPTION_CHOICE, PROGRESS_STYLES,                                                              \
   "how progress is shown on standard error", &(c).progress, 0},                                                    \
  {"--log-level", NULL, OPTION_CHOICE, LOG_LEVELS,                                                                  \
   "what is logged on standard error (default info)", &(c).log_level, 0},                                           \
  {"--verbose", "-v", OPTION_FLAG, NULL, "log everything: the same as --log-level debug", &(c).verbose, 0},         \
  {"--stall-timeout", NULL, OPTION_INT, "S",                                                                        \
   "end with status 7 if a rank waits for others, or a file, longer than\n"                                            \
   "S seconds (default: no limit)", &(c).stall, 1},                                                                 \
  {"--help", "-h", OPTION_FLAG, NULL, "this text", NULL, 0},                                                        \
  {NULL, NULL, OPTION_FLAG, NULL, NULL, NULL, 0}

#define OUTPUT_KIND_OPTION(text)                                            \
  {"--output-kind", NULL, OPTION_LIST, "NAME=KIND,...",                     \
   "outputs that are \"scores\" of classes [N, C] (judged by the KL\n"      \
   "divergence), or any other \"values\" (by their squared error), where\n" \
   "their form tells otherwise: see reap inspect",                          \
   &(text), 0}

#define POSITIONS_OPTION(text, usual)                                            \
  {"--positions", NULL, OPTION_TEXT, "auto|all|K",                               \
   "output positions of an image in the moments, drawn at random: so many that\n" \
   "a layer has 1024 rows for each column, all, or K (default " usual ")",        \
   &(text), 0}

#define SOLVER_OPTION(choice)                                             \
  {"--solver", NULL, OPTION_CHOICE, SOLVERS,                              \
   "where layers are solved: on one rank, or on all ranks with moments\n" \
   "distributed over them (default auto: by size and memory)",            \
   &(choice), 0}
/* clang-format on */

/* Parses; prints the help on rank 0 if asked for. *done tells that nothing is left to do (help, or a usage error). */
int command_begin(const command_context *context, command_line *line, const char *synopsis, const char *about,
                  bool *done);

/* Collective: applies threads and log level, and starts the view of progress. REAP_ERR_RESOURCE if a rank has no room
 * for its threads. */
int command_set_up(const command_context *context, const common_options *common);

/* The log level alone: rank 0's as asked for, silence on the others. */
void command_set_log(const command_context *context, const common_options *common);

reap_backend command_backend(const char *kernels);

/* Messages of the library name quantities and no options. For them: " (see --memory, --scratch)", what sets or tells
 * what the message names; else "". */
enum { COMMAND_HINT = 160 };
void command_hint(const char *message, char hint[COMMAND_HINT]);

/* Value of --positions: "auto", "all", or a number; without text *positions stays. `title` is "reap prune", say. */
int command_positions(const char *title, const char *text, int64_t *positions);

/* Says on standard output which nodes of the file are left out, if any. Local. */
int command_print_unused(const reap_source *source);

#endif
