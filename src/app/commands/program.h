/* What the program does with its command line, once MPI runs; private to src/app. */
#ifndef REAP_APP_COMMANDS_PROGRAM_H
#define REAP_APP_COMMANDS_PROGRAM_H

#include "reap/comm.h"

/* Collective: finds the command and runs it. Its status, the same on all ranks. */
int program_run(const reap_comm *comm, int argc, char **argv);

/* Local: prints the message of a run that failed on standard error, for one rank to call; after a usage error a second
 * line points to the help. */
void program_complain(int argc, char **argv, int status);

#endif
