/* What the program does with its command line, once MPI runs; private to src/app. */
#ifndef REAP_APP_COMMANDS_PROGRAM_H
#define REAP_APP_COMMANDS_PROGRAM_H

#include <stdbool.h>

#include "reap/comm.h"

/* Local, before MPI runs. Documents, if the command line asks for them (documents.h); else false. */
bool program_print(int argc, char **argv, int *status);

/* Collective: finds the command and runs it. Its status, the same on all ranks. */
int program_run(const reap_comm *comm, int argc, char **argv);

/* Local, for one rank to call: the message of a run that failed on standard error, after a usage error with a second
 * line that points to the help; or the last event of progress as JSON. */
void program_end(int argc, char **argv, int status);

#endif
