/* See probe_inputs.h. Options are not parsed yet: every word of the command line that names an HDF5 file is checked.
 */
#include "probe_inputs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io/probe.h"
#include "reap/error.h"

/* MPI has not started: launchers tell the rank. Open MPI's sets PMIX_RANK, others PMI_RANK, and srun its own too. */
static bool is_first_rank(void) {
  static const char *const names[] = {"PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *rank = getenv(names[i]);
    if (rank) return strcmp(rank, "0") == 0;
  }
  return true;
}

int probe_inputs(int argc, char **argv) {
  if (!is_first_rank()) return REAP_OK;
  for (int i = 2; i < argc; i++) {
    const char *equals = strncmp(argv[i], "--", 2) == 0 ? strchr(argv[i], '=') : NULL;
    REAP_TRY(reap_probe_file(equals ? equals + 1 : argv[i]));
  }
  return REAP_OK;
}
