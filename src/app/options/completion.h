/* Completion of command lines in bash, out of the tables of options; private to src/app. Local. */
#ifndef REAP_APP_COMPLETION_H
#define REAP_APP_COMPLETION_H

#include <stdio.h>

#include "options.h"

/* The script's head. The names of the commands are to follow, and a space behind each; then what else may follow the
 * program's name. */
void completion_begin(FILE *to);
void completion_options(FILE *to);

/* The options of a command, and what their values may be. */
void completion_command(FILE *to, const command_line *line);

/* The function that completes with all these. */
void completion_end(FILE *to);

#endif
