/* Manual pages (man(7)) out of the tables of options; private to src/app. Local. */
#ifndef REAP_APP_MAN_PAGE_H
#define REAP_APP_MAN_PAGE_H

#include <stdio.h>

#include "options.h"

/* The head. words: "reap bench solve", whose page is reap-bench-solve. */
void man_page_begin(FILE *to, const char *words, const char *summary);

/* Synopsis, description and options of a command. */
void man_page_command(FILE *to, const command_line *line, const char *synopsis, const char *about);

/* What all pages end with: exit statuses, and the other pages. */
void man_page_end(FILE *to, const char *see_also);

/* A heading; text, escaped; an entry with its text indented below. */
void man_page_section(FILE *to, const char *name);
void man_page_text(FILE *to, const char *text);
void man_page_entry(FILE *to, const char *name, const char *text);

#endif
