#include "command.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

int command_begin(const command_context *context, command_line *line, const char *synopsis, const char *about,
                  bool *done) {
  *done = false;
  REAP_TRY(options_parse(line, context->argc, context->argv));
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
  const char *level = common->log_level;
  reap_log_set_level(!first || strcmp(level, "quiet") == 0 ? REAP_LOG_QUIET
                     : strcmp(level, "warning") == 0       ? REAP_LOG_WARNING
                     : strcmp(level, "debug") == 0         ? REAP_LOG_DEBUG
                                                           : REAP_LOG_INFO);
}

int command_set_up(const command_context *context, const common_options *common, progress_view *view) {
  const char *variable = getenv("OMP_NUM_THREADS");
  int64_t threads = common->threads > 0 ? common->threads : variable ? strtoll(variable, NULL, 10) : 1;
  const int status = reap_kernels_set_threads(threads >= 1 && threads < 4096 ? (int)threads : 1);
  command_set_log(context, common);
  progress_view_start(view, reap_comm_rank(context->comm) == 0 ? common->progress : "none");
  return reap_comm_agree(context->comm, status);
}

reap_backend command_backend(const char *kernels) {
  return strcmp(kernels, "plain") == 0    ? REAP_BACKEND_PLAIN
         : strcmp(kernels, "onednn") == 0 ? REAP_BACKEND_ONEDNN
                                          : REAP_BACKEND_AUTO;
}

int command_print_unused(const reap_source *source) {
  char *text = NULL;
  REAP_TRY(reap_source_unused_text(source, &text));
  if (text) reap_print(stdout, "%s\n", text);
  reap_free(&text);
  return REAP_OK;
}

void command_warn_idle(const reap_comm *comm, int64_t blocks) {
  if (blocks < reap_comm_size(comm))
    reap_log(REAP_LOG_WARNING, "%lld of %d ranks stay idle: there are only %lld blocks of images",
             (long long)(reap_comm_size(comm) - blocks), reap_comm_size(comm), (long long)blocks);
}

int command_positions(const char *title, const char *text, int64_t *positions) {
  char *end = NULL;
  *positions = 0;
  if (strcmp(text, "all") == 0) return REAP_OK;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end || value < 1)
    return reap_error(REAP_ERR_USAGE, "%s: --positions wants \"all\" or a number of positions per image, not \"%s\"",
                      title, text);
  *positions = value;
  return REAP_OK;
}

int command_check_activations(const char *path, double bytes, int64_t positions) {
  const double most = 64e9; /* of all positions: more is a mistake rather than a wish */
  if (positions == 0 && bytes > most)
    return reap_error(REAP_ERR_USAGE,
                      "%s: would hold %.0f GB of activations; take --positions K with K positions of each image", path,
                      bytes / 1e9);
  reap_log(REAP_LOG_INFO, "%s: %.3g MB of activations before they are packed", path, bytes / 1e6);
  return REAP_OK;
}
