/* Progress as people read it, on standard error; private to src/app. Local. */
#ifndef REAP_APP_PROGRESS_TEXT_H
#define REAP_APP_PROGRESS_TEXT_H

#include "progress_model.h"

enum { PROGRESS_TEXT = 600 }; /* bytes of what the run is at, at most */

/* A bar in place of the one before, cut to the terminal's width. Standard error need not be the terminal: under a
 * launcher it is a pipe to one. */
void progress_text_bar(const progress_figures *figures, const char *text);

/* A line; figures NULL: this process does not speak for the run. */
void progress_text_line(const progress_figures *figures, const char *text);

/* The bar as it is shown: its escaped form, of at most `columns` characters. */
void progress_text_bar_form(const progress_figures *figures, const char *text, int columns, char out[PROGRESS_TEXT]);

#endif
