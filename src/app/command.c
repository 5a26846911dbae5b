#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/options/completion.h"
#include "app/options/man_page.h"
#include "base/text.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "reap/session.h"
#include "stall_watch.h"

int command_begin(const command_context *context, command_line *line, const char *synopsis, const char *about,
                  bool *done) {
  *done = context->document != DOCUMENT_NONE;
  if (context->document == DOCUMENT_MAN_PAGE) man_page_command(stdout, line, synopsis, about);
  if (context->document == DOCUMENT_COMPLETION) completion_command(stdout, line);
  if (*done) return REAP_OK;
  REAP_TRY(options_parse(line, context->argc, context->argv, context->given));
  if (!line->help) return REAP_OK;
  *done = true;
  if (reap_comm_rank(context->comm) != 0) return REAP_OK;
  /* a heading brings its own empty line */
  printf("usage: %s\n\n%s%s", synopsis, about, line->options[0].kind == OPTION_HEADING ? "" : "\n");
  options_print(stdout, line->options);
  return REAP_OK;
}

void command_set_log(const command_context *context, const common_options *common) {
  const bool first = reap_comm_rank(context->comm) == 0;
  const int level = common->verbose ? REAP_LOG_DEBUG : option_index(LOG_LEVELS, common->log_level);
  reap_log_set_level(first ? (reap_log_level)level : REAP_LOG_QUIET);
}

/* Collective. Threads that wait for a core make runs many times slower. */
static int check_cores(const reap_comm *comm, int threads) {
  int ranks = 1;
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  REAP_TRY(reap_comm_node_size(comm, &ranks));
  if (cores > 0 && (long)ranks * threads > cores)
    reap_log(
        REAP_LOG_WARNING,
        "%d rank%s of %d thread%s on a node with %ld core%s: they wait for each other; take fewer ranks (mpirun -n) or "
        "threads (--threads, OMP_NUM_THREADS)",
        ranks, ranks == 1 ? "" : "s", threads, threads == 1 ? "" : "s", cores, cores == 1 ? "" : "s");
  return REAP_OK;
}

int command_set_up(const command_context *context, const common_options *common) {
  const char *variable = getenv("OMP_NUM_THREADS");
  int64_t threads = common->threads > 0 ? common->threads : variable ? strtoll(variable, NULL, 10) : 1;
  const int used = threads >= 1 && threads < 4096 ? (int)threads : 1;
  int status = reap_kernels_set_threads(used);
  if (status == REAP_OK) status = stall_watch_start(common->stall, reap_comm_rank(context->comm));
  command_set_log(context, common);
  progress_view_start(reap_comm_rank(context->comm) == 0 ? common->progress : "none", true);
  REAP_TRY(reap_comm_agree(context->comm, status));
  return check_cores(context->comm, used);
}

reap_backend command_backend(const char *kernels) { return (reap_backend)option_index(KERNELS, kernels); }

static bool names(const char *message, const char *quantity) {
  const size_t n = strlen(quantity);
  for (const char *c = message; (c = strstr(c, quantity)); c += n)
    if ((c == message || c[-1] == ' ') && strchr(" ,;:)", c[n])) return true;
  return false;
}

void command_hint(const char *message, char hint[COMMAND_HINT]) {
  static const char *const table[][2] = {{"flops", "--flops"},
                                         {"params", "--params"},
                                         {"latency", "--latency"},
                                         {"excluded", "--exclude"},
                                         {"exclude", "--exclude"},
                                         {"least size", "--min-keep"},
                                         {"memory limit", "--memory"},
                                         {"ridge", "--ridge"},
                                         {"scratch folder", "--scratch"},
                                         {"solver", "--solver"},
                                         {"ratios", "--ratios"},
                                         {"measure", "--measure"},
                                         {"positions", "--positions"},
                                         {"channel group", "reap inspect"},
                                         {"gather the moments", "reap stats"},
                                         {"holds moments", "reap stats"}};
  size_t length = 0;
  hint[0] = '\0';
  for (size_t i = 0; i < sizeof table / sizeof table[0] && !strstr(message, "--"); i++) {
    const size_t longer = length + strlen(table[i][1]) + sizeof " (see )";
    if (!names(message, table[i][0]) || strstr(message, table[i][1]) || longer > COMMAND_HINT) continue;
    length += (size_t)snprintf(hint + length, COMMAND_HINT - length, "%s%s", length ? ", " : " (see ", table[i][1]);
  }
  if (length) memcpy(hint + length, ")", 2);
}

int command_print_unused(const reap_source *source) {
  char *text = NULL;
  REAP_TRY(reap_source_unused_text(source, &text));
  if (text) reap_print(stdout, "%s\n", text);
  reap_free(&text);
  return REAP_OK;
}

int command_positions(const char *title, const char *text, int64_t *positions) {
  char *end = NULL;
  if (!text) return REAP_OK;
  long long value = strtoll(text, &end, 10);
  if (strcmp(text, "auto") == 0)
    value = REAP_POSITIONS_AUTO;
  else if (strcmp(text, "all") == 0)
    value = 0;
  else if (end == text || *end || value < 1)
    return reap_error(REAP_ERR_USAGE,
                      "%s: --positions wants \"auto\", \"all\" or a number of positions per image, not \"%s\"", title,
                      text);
  *positions = value;
  return REAP_OK;
}
