#include "progress_text.h"

#include <fcntl.h>
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

/* Standard error may be a launcher's pipe; where the launcher's own standard error leads to a terminal, so does the
 * process's. NULL: it is none, as far as can be seen (Linux tells). The caller closes it. */
static FILE *launchers_terminal(void) {
  char link[64], target[64];
  snprintf(link, sizeof link, "/proc/%ld/fd/%d", (long)getppid(), STDERR_FILENO);
  const ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return NULL;
  target[length] = '\0';
  if (strncmp(target, "/dev/", strlen("/dev/")) != 0) return NULL;
  const int file = open(target, O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (file < 0) return NULL;
  if (isatty(file)) return fdopen(file, "r");
  close(file);
  return NULL;
}

static int width_of(int file) {
  struct winsize size = {0};
  return ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 0;
}

static int width_behind(FILE *terminal) {
  if (!terminal) return 0;
  const int width = width_of(fileno(terminal));
  fclose(terminal);
  return width;
}

/* Of the terminal that standard error leads to; 0: it leads to none. */
static int terminal_width(void) {
  return isatty(STDERR_FILENO) ? width_of(STDERR_FILENO) : width_behind(launchers_terminal());
}

/* A bar was asked for: there is a terminal, perhaps the one that controls the process; else COLUMNS tells. */
static int bar_width(void) {
  const char *variable = getenv("COLUMNS");
  int columns = terminal_width();
  if (columns == 0) columns = width_behind(fopen("/dev/tty", "r"));
  if (columns == 0 && variable) columns = atoi(variable);
  return columns > 1 ? columns : COLUMNS;
}

bool progress_text_on_terminal(void) { return terminal_width() > 0; }

void progress_text_bar(const progress_figures *f, const char *text) {
  char line[PROGRESS_TEXT];
  progress_text_bar_form(f, text, bar_width() - 1, line); /* a full line would wrap */
  fprintf(stderr, "\r\033[K%s", line);
  fflush(stderr);
}

/* ------------------------------------------------------------------ lines */

void progress_text_line_form(const progress_figures *f, const char *text, int columns, char out[PROGRESS_TEXT]) {
  char left[48];
  if (f)
    snprintf(out, PROGRESS_TEXT, "reap: %3d %%, %s  %s", percent(f), duration(f, left), text);
  else
    snprintf(out, PROGRESS_TEXT, "reap: %s", text);
  cut(out, columns > 0 ? columns : PROGRESS_TEXT);
}

void progress_text_line(const progress_figures *f, const char *text) {
  char line[PROGRESS_TEXT];
  progress_text_line_form(f, text, terminal_width(), line);
  fprintf(stderr, "%s\n", line);
}
