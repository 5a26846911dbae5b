/* Progress as people read it, on standard error; private to src/app. Local. */
#ifndef REAP_APP_PROGRESS_TEXT_H
#define REAP_APP_PROGRESS_TEXT_H

#include "progress_model.h"

enum { PROGRESS_TEXT = 600 }; /* bytes of what the run is at, at most */

/* Whether standard error leads to a terminal: itself, or as a launcher's pipe to its terminal (Linux). */
bool progress_text_on_terminal(void);

/* A bar in place of the one before, cut to the terminal's width. Standard error need not be the terminal: under a
 * launcher it is a pipe to one. */
void progress_text_bar(const progress_figures *figures, const char *text);

/* A line, cut to the width of the terminal if it goes to one; figures NULL: this process does not speak for the run. */
void progress_text_line(const progress_figures *figures, const char *text);

/* The bar as it is shown: its escaped form, of at most `columns` characters. */
void progress_text_bar_form(const progress_figures *figures, const char *text, int columns, char out[PROGRESS_TEXT]);

/* The line, of at most so many characters; 0: as many as there are. */
void progress_text_line_form(const progress_figures *figures, const char *text, int columns, char out[PROGRESS_TEXT]);

#endif
