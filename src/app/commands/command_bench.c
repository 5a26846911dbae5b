/* reap bench: measurements that a user can repeat. */
#include <string.h>

#include "app/command.h"
#include "base/nearest.h"
#include "reap/error.h"

static const char *const HELP =
    "usage: reap bench solve [options]\n"
    "       reap bench layers MODEL [options]\n\n"
    "  reap bench solve --help    speed of the solver on random statistics, against DGEMM on all ranks\n"
    "  reap bench layers --help   time of every layer at several sizes, for reap prune --latency\n";

int command_bench(const command_context *context) {
  const char *what = context->argc > 1 ? context->argv[1] : NULL;
  command_context inner = *context; /* without the first word */
  inner.argc--;
  inner.argv++;
  if (what && strcmp(what, "solve") == 0) return command_bench_solve(&inner);
  if (what && strcmp(what, "layers") == 0) return command_bench_layers(&inner);
  if (what && (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0)) {
    if (reap_comm_rank(context->comm) == 0) fputs(HELP, stdout);
    return REAP_OK;
  }
  if (!what) return reap_error(REAP_ERR_USAGE, "reap bench: give solve or layers");
  char nearest[REAP_NEAREST_TEXT];
  reap_nearest near = reap_nearest_to(what, strlen(what));
  reap_nearest_offer(&near, "solve", 5);
  reap_nearest_offer(&near, "layers", 6);
  return reap_error(REAP_ERR_USAGE, "reap bench: give solve or layers, not \"%s\"%s", what,
                    reap_nearest_text(&near, "", nearest));
}
