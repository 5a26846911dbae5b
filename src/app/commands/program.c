#include "program.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "app/json/json.h"
#include "base/nearest.h"
#include "base/text.h"
#include "documents.h"
#include "io/model_file.h"
#include "linalg/dense.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap_commit.h"

static const command commands[] = {
    {"inspect", "MODEL [--estimate P]", "layers, channel groups, multiply-adds, parameters", NULL, command_inspect},
    {"eval", "MODEL --data D.h5", "accuracy, loss and speed; stored outputs", NULL, command_eval},
    {"prune", "MODEL --calib D.h5 (--keep F | --flops F) -o OUT.h5", "remove channels, re-solve weights", NULL,
     command_prune},
    {"sweep", "MODEL --calib D.h5 --eval D.h5 --flops F,... -o SWEEP.h5", "many budgets, methods and seeds at once",
     NULL, command_sweep},
    {"stats", "MODEL --calib D.h5 -o S.h5", "moments of the layers in a file", NULL, command_stats},
    {"paths", "MODEL --calib D.h5 -o P.h5", "errors of each group at each size; sensitivity of the outputs", NULL,
     command_paths},
    {"merge", "A.h5 B.h5 ... -o SUM.h5", "sum of the moments of different images", NULL, command_merge},
    {"solve", "STATS.h5 --keep F -o PATH.h5", "the solver alone, on stored moments", NULL, command_solve},
    {"export", "OUT.h5 OUT.onnx", "a pruned model as ONNX", NULL, command_export},
    {"bench", "solve|layers [options]", "speed of the solver|times of layers, for --latency-table", "solve|layers",
     command_bench},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static const char ABOUT[] = "Channel pruning of trained networks without retraining, by reconstruction error (REAP).\n";

static void print_help(FILE *to) {
  fprintf(to,
          "usage: reap COMMAND ...            (mpirun -n P reap COMMAND ... on P ranks)\n\n"
          "%s\n",
          ABOUT);
  for (int i = 0; i < N_COMMANDS; i++) {
    const command *c = &commands[i];
    const size_t first = strcspn(c->summary, "|"); /* of its parts */
    fprintf(to, "  reap %-8s %-55s %.*s%s%s\n", c->name, c->synopsis, (int)first, c->summary, c->parts ? "; " : "",
            c->parts ? c->summary + first + 1 : "");
  }
  fprintf(to,
          "\n  reap help COMMAND, reap COMMAND --help    arguments and options of a command\n"
          "  reap --version, reap -V                   versions of reap and its libraries\n");
}

static void print_version(void) {
  char library[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0, lapack[3], hdf5[3];
  MPI_Get_library_version(library, &length);
  library[strcspn(library, ",\n")] = '\0';
  reap_lapack_version(lapack);
  reap_hdf5_version(hdf5);
  printf("reap %s%s%s%s\n", REAP_VERSION, *REAP_COMMIT ? " (commit " : "", REAP_COMMIT, *REAP_COMMIT ? ")" : "");
  printf("MPI        %s\nHDF5       %d.%d.%d\n", library, hdf5[0], hdf5[1], hdf5[2]);
  printf("BLAS       %s\nLAPACK     %d.%d.%d\nScaLAPACK  %s\n", reap_blas_name(), lapack[0], lapack[1], lapack[2],
         REAP_SCALAPACK); /* which cannot be asked */
  printf("kernels    %s\n", reap_backend_name(REAP_BACKEND_AUTO));
}

/* The command line as typed, for provenance; the caller frees it. */
static int typed_line(int argc, char **argv, char **out) {
  REAP_TRY(reap_strdup(out, "reap"));
  for (int i = 1; i < argc; i++) REAP_TRY(options_add_word(out, argv[i]));
  return REAP_OK;
}

static int refuse_command(const char *word) {
  static const char *const others[] = {"help", "--help", "--version", "-V"};
  char nearest[REAP_NEAREST_TEXT];
  reap_nearest near = reap_nearest_to(word, strlen(word));
  for (int i = 0; i < N_COMMANDS; i++) reap_nearest_offer(&near, commands[i].name, strlen(commands[i].name));
  for (int i = 0; i < 4; i++) reap_nearest_offer(&near, others[i], strlen(others[i]));
  return reap_error(REAP_ERR_USAGE, "reap: there is no command \"%s\"%s", word, reap_nearest_text(&near, "", nearest));
}

/* "help COMMAND ..." becomes "COMMAND ... --help". */
static void turn_help(int argc, char **argv) {
  static char flag[] = "--help";
  if (argc < 3 || strcmp(argv[1], "help") != 0) return;
  memmove(argv + 1, argv + 2, (size_t)(argc - 2) * sizeof *argv);
  argv[argc - 1] = flag;
}

bool program_print(int argc, char **argv, int *status) {
  return documents_print(argc, argv, commands, N_COMMANDS, ABOUT, status);
}

int program_run(const reap_comm *comm, int argc, char **argv) {
  json_set_up();
  bool first = reap_comm_rank(comm) == 0;
  if (argc < 2) return reap_error(REAP_ERR_USAGE, "reap: a command is missing");
  turn_help(argc, argv);
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
    if (first) print_help(stdout);
    return REAP_OK;
  }
  if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
    if (first) print_version();
    return REAP_OK;
  }
  for (int i = 0; i < N_COMMANDS; i++) {
    if (strcmp(argv[1], commands[i].name) != 0) continue;
    char *typed = NULL;
    int status = reap_comm_agree(comm, typed_line(argc, argv, &typed));
    options_given given = {0};
    const command_context context = {comm,   argc - 1,     argv + 1, typed, *REAP_COMMIT ? REAP_COMMIT : "unknown",
                                     &given, DOCUMENT_NONE};
    if (status == REAP_OK) status = commands[i].run(&context);
    options_given_clear(&given);
    reap_free(&typed);
    return status;
  }
  return refuse_command(argv[1]);
}

void program_end(int argc, char **argv, int status) {
  const command *known = NULL;
  for (int i = 0; argc > 1 && i < N_COMMANDS; i++)
    if (strcmp(argv[1], commands[i].name) == 0) known = &commands[i];
  const bool part = known && known->parts && argc > 2 && option_index(known->parts, argv[2]) >= 0;
  const char *message = reap_error_message();
  char hint[COMMAND_HINT], whole[1024 + COMMAND_HINT];
  command_hint(message, hint);
  snprintf(whole, sizeof whole, "%s%s", message[0] ? message : reap_status_name(status), hint);
  if (progress_view_end(status, whole) || status == REAP_OK) return;
  if (status == REAP_ERR_USAGE) {
    bool named = strncmp(message, "reap", 4) == 0;
    reap_print(stderr, "%s%s%s\n", named ? "" : "reap: ", message, hint);
    reap_print(stderr, "try \"reap%s%s%s%s --help\"\n", known ? " " : "", known ? known->name : "", part ? " " : "",
               part ? argv[2] : "");
  } else {
    reap_print(stderr, "reap: %s\n", whole);
  }
}
