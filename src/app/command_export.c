/* reap export: a pruned model back to ONNX. */
#include <stdio.h>

#include "command.h"
#include "reap/error.h"
#include "reap/network.h"
#include "reap/text.h"

static const char *const SYNOPSIS = "reap export MODEL OUT.onnx";
static const char *const ABOUT =
    "Writes a pruned model (.h5, from reap prune) as ONNX, with the nodes and names of the network it was made from.\n";

int command_export(const command_context *context) {
  const char *files[2] = {NULL, NULL};
  const option options[] = {{"--help", "-h", OPTION_FLAG, NULL, "this text", NULL, 0}, {NULL, NULL, OPTION_FLAG, NULL, NULL, NULL, 0}};
  static const char *const names[] = {"MODEL", "OUT.onnx"};
  command_line line = {"reap export", options, 2, names, files, false};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  reap_network network = {0};
  REAP_TRY(reap_network_load(context->comm, files[0], &network));
  int status = REAP_OK;
  if (reap_comm_rank(context->comm) == 0) {
    status = reap_source_write_onnx(network.source, files[1]);
    if (status == REAP_OK) reap_print(stdout, "wrote %s\n", files[1]);
    if (status == REAP_OK) status = command_print_unused(network.source);
  }
  reap_network_clear(&network);
  return reap_comm_agree(context->comm, status);
}
