#include "standard_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/progress/progress_view.h"
#include "io/files/durable.h"
#include "reap/error.h"

static FILE *taken;

bool standard_output_is(const char *path) { return strcmp(path, "-") == 0; }

int standard_output_take(void) {
  if (taken) return REAP_OK;
  fflush(stdout);
  const int copy = dup(STDOUT_FILENO);
  if (copy < 0) return reap_durable_error("standard output", "cannot be written");
  taken = fdopen(copy, "w");
  const int rest = progress_view_is_json() ? open("/dev/null", O_WRONLY) : dup(STDERR_FILENO);
  const bool moved = taken && rest >= 0 && dup2(rest, STDOUT_FILENO) >= 0;
  if (rest >= 0) close(rest);
  if (moved) return REAP_OK;
  int status = reap_durable_error("standard output", "cannot be written");
  if (taken) fclose(taken);
  if (!taken) close(copy);
  taken = NULL;
  return status;
}

int standard_output_write(const char *text) {
  FILE *to = taken ? taken : stdout;
  const bool good = fprintf(to, "%s\n", text) >= 0 && fflush(to) == 0;
  return good ? REAP_OK : reap_durable_error("standard output", "cannot be written");
}
