/* Manual pages and bash's completion on standard output: what the installation is made with. Local, without MPI;
 * private to src/app/commands. */
#ifndef REAP_APP_COMMANDS_DOCUMENTS_H
#define REAP_APP_COMMANDS_DOCUMENTS_H

#include <stdbool.h>

#include "app/command.h"

/* "reap print-man [COMMAND [PART]]" and "reap print-completion", of commands[n]; about: of the whole program. False:
 * the command line asks for neither. */
bool documents_print(int argc, char **argv, const command *commands, int n, const char *about, int *status);

#endif
