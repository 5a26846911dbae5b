/* reap export: a pruned model back to ONNX. */
#include <stdio.h>

#include "app/command.h"
#include "app/run_files.h"
#include "base/text.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/network.h"

static const char *const SYNOPSIS = "reap export MODEL OUT.onnx";
static const char *const ABOUT =
    "Writes a pruned model (.h5, from reap prune) as ONNX, with the nodes and names of the network it was made from.\n";

static int run(const command_context *context, const char *model, const char *output) {
  const run_file table[] = {RUN_INPUT("MODEL", model), RUN_OUTPUT("OUT.onnx", output, FORM_ONNX)};
  reap_network network = {0};
  run_files files = {0};
  reap_log_set_level(reap_comm_rank(context->comm) == 0 ? REAP_LOG_INFO : REAP_LOG_QUIET);
  int status = run_files_check(context->comm, "reap export", table, 2, &files);
  if (status == REAP_OK) status = reap_network_load(context->comm, model, &network);
  if (status == REAP_OK) status = run_files_check_network(context->comm, &network, "MODEL's data", &files);
  if (status == REAP_OK) status = run_files_announce(context->comm, &files);
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) {
    status = reap_source_write_onnx(network.source, output);
    if (status == REAP_OK) reap_print(stdout, "wrote %s\n", output);
    if (status == REAP_OK) status = command_print_unused(network.source);
  }
  reap_network_clear(&network);
  run_files_clear(&files);
  return reap_comm_agree(context->comm, status);
}

int command_export(const command_context *context) {
  const char *files[2] = {NULL, NULL};
  const option options[] = {{"--help", "-h", OPTION_FLAG, NULL, "this text", NULL, 0},
                            {NULL, NULL, OPTION_FLAG, NULL, NULL, NULL, 0}};
  static const char *const names[] = {"MODEL", "OUT.onnx"};
  command_line line = {"reap export", options, 2, names, .positional = files};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  return run(context, files[0], files[1]);
}
