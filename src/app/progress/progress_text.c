#include "progress_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

enum { MOST_CELLS = 24, COLUMNS = 80 };

/* Rounded up: a run that is not over has a second left. Before it is known something moves, too. */
static const char *duration(const progress_figures *f, char text[48]) {
  const long s = isnan(f->left) ? 0 : (long)ceil(f->left);
  if (isnan(f->left))
    snprintf(text, 48, "%ld s so far, time to go not known yet", (long)f->seconds);
  else if (s < 60)
    snprintf(text, 48, "%ld s left", s);
  else if (s < 3600)
    snprintf(text, 48, "%ld min %02ld s left", s / 60, s % 60);
  else
    snprintf(text, 48, "%ld h %02ld min left", s / 3600, s / 60 % 60);
  return text;
}

/* Rounded down: all is done at the end. */
static int percent(const progress_figures *f) { return (int)(100 * f->share); }

void progress_text_line(const progress_figures *f, const char *text) {
  char left[48];
  if (f)
    reap_print(stderr, "reap: %3d %%, %s  %s\n", percent(f), duration(f, left), text);
  else
    reap_print(stderr, "reap: %s\n", text);
}

/* ------------------------------------------------------------------ the bar */

/* At most so many columns of the text, a column to each of its characters once they are escaped. */
static void cut(char text[PROGRESS_TEXT], int columns) {
  char escaped[PROGRESS_TEXT];
  size_t at = 0;
  reap_text_escape(text, escaped, sizeof escaped);
  for (; escaped[at] && columns > 0; columns--) {
    const size_t length = reap_text_character(escaped + at);
    at += length > 0 ? length : 1;
  }
  memcpy(text, escaped, at);
  text[at] = '\0';
}

void progress_text_bar_form(const progress_figures *f, const char *text, int columns, char out[PROGRESS_TEXT]) {
  char left[48], bar[MOST_CELLS + 1];
  const int cells = columns / 4 < MOST_CELLS ? columns / 4 : MOST_CELLS; /* the figures matter more */
  for (int i = 0; i < cells; i++) bar[i] = i < (int)(f->share * cells) ? '#' : '.';
  bar[cells] = '\0';
  snprintf(out, PROGRESS_TEXT, "[%s] %3d %%, %s  %s", bar, percent(f), duration(f, left), text);
  cut(out, columns);
}

/* What the terminal says, which may control the process though standard error is a pipe; else COLUMNS. */
static int terminal_width(void) {
  struct winsize size = {0};
  FILE *terminal = isatty(STDERR_FILENO) ? NULL : fopen("/dev/tty", "r");
  const bool known = ioctl(terminal ? fileno(terminal) : STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  if (terminal) fclose(terminal);
  const char *variable = getenv("COLUMNS");
  const int columns = known ? size.ws_col : variable ? atoi(variable) : COLUMNS;
  return columns > 1 ? columns : COLUMNS;
}

void progress_text_bar(const progress_figures *f, const char *text) {
  char line[PROGRESS_TEXT];
  progress_text_bar_form(f, text, terminal_width() - 1, line); /* a full line would wrap */
  fprintf(stderr, "\r\033[K%s", line);
  fflush(stderr);
}
