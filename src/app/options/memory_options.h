/* --memory and --scratch; private to src/app. */
#ifndef REAP_APP_MEMORY_OPTIONS_H
#define REAP_APP_MEMORY_OPTIONS_H

#include <stdint.h>

#include "options.h"
#include "reap/comm.h"

typedef struct memory_options {
  const char *text, *scratch; /* as given; NULL: not given */
  int64_t bytes;              /* 0: no limit */
  const char *folder;         /* for what exceeds them: --scratch, else TMPDIR, else /tmp */
} memory_options;

/* clang-format off */
#define MEMORY_OPTIONS(m)                                                                             \
  {"--memory", NULL, OPTION_TEXT, "BYTES",                                                            \
   "limit for the values and buffers of both networks on a rank (2G, 500M:\n"                         \
   "powers of 1024); values beyond it go to a scratch file or are computed\n"                         \
   "again, and the result is the same (default: no limit)",                                           \
   &(m).text, 0},                                                                                     \
  {"--scratch", NULL, OPTION_TEXT, "DIR",                                                             \
   "folder of the scratch file, best on a local disk (default: TMPDIR,\nelse /tmp)", &(m).scratch, 0}
/* clang-format on */

/* Local. Reads both; REAP_ERR_USAGE with one line. `title` is "reap prune", say. */
int memory_options_read(const char *title, memory_options *options);

/* Collective: whether every rank can write to the scratch folder, if there is a limit. */
int memory_options_check(const reap_comm *comm, const memory_options *options);

/* Bytes from "123", "1.5G", "500M", "64k", "1T"; false for anything else. */
bool memory_parse_bytes(const char *text, int64_t *bytes);

#endif
