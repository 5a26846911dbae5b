#include "man_page.h"

#include <ctype.h>
#include <string.h>

#include "reap/api.h"
#include "reap/error.h"

/* What groff takes for something else. A dot or an apostrophe at the start of a line would be a request. */
static void put(FILE *to, const char *text, size_t length) {
  static const char signs[] = "\\-'`^~";
  static const char *const escapes[] = {"\\e", "\\-", "\\(aq", "\\(ga", "\\(ha", "\\(ti"};
  for (size_t i = 0; i < length; i++) {
    const char *sign = strchr(signs, text[i]);
    if (text[i] == '.' && (i == 0 || text[i - 1] == '\n')) fputs("\\&", to);
    if (sign)
      fputs(escapes[sign - signs], to);
    else
      fputc(text[i], to);
  }
}

void man_page_text(FILE *to, const char *text) {
  const size_t length = strlen(text);
  put(to, text, length);
  if (length == 0 || text[length - 1] != '\n') fputc('\n', to);
}

void man_page_section(FILE *to, const char *name) { fprintf(to, ".SH %s\n", name); }

void man_page_entry(FILE *to, const char *name, const char *text) {
  fputs(".TP\n\\fB", to);
  put(to, name, strlen(name));
  fputs("\\fR\n", to);
  man_page_text(to, text);
}

void man_page_begin(FILE *to, const char *words, const char *summary) {
  fputs(".TH \"", to);
  for (const char *c = words; *c; c++) fputc(*c == ' ' ? '-' : toupper((unsigned char)*c), to);
  fprintf(to, "\" 1 \"\" \"reap %s\" \"reap\"\n.nh\n", REAP_VERSION);
  man_page_section(to, "NAME");
  for (const char *c = words; *c; c++) fputs(*c == ' ' ? "\\-" : (char[]){*c, '\0'}, to);
  fputs(" \\- ", to);
  man_page_text(to, summary);
}

static void put_synopsis(FILE *to, const char *command, const char *synopsis) {
  man_page_section(to, "SYNOPSIS");
  for (const char *line = synopsis; *line; line += *line == '\n') {
    line += strspn(line, " ");
    const size_t length = strcspn(line, "\n"),
                 bold = strncmp(line, command, strlen(command)) == 0 ? strlen(command) : 0;
    fprintf(to, ".PP\n\\fB%.*s\\fR", (int)bold, line);
    put(to, line + bold, length - bold);
    fputc('\n', to);
    line += length;
  }
}

/* Long lists of choices may break behind a '|', nowhere else. */
static void put_argument(FILE *to, const char *text) {
  for (size_t length; *text; text += length) {
    length = strcspn(text, "|") + (text[strcspn(text, "|")] == '|');
    put(to, text, length);
    if (text[length]) fputs("\\:", to);
  }
}

static void put_option(FILE *to, const option *o) {
  fputs(".TP\n", to);
  if (o->short_name) fprintf(to, "\\fB\\-%s\\fR, ", o->short_name + 1);
  fputs("\\fB", to);
  put(to, o->name, strlen(o->name));
  fputs("\\fR", to);
  if (o->kind != OPTION_FLAG) {
    fputs(" \\fI", to);
    put_argument(to, o->argument);
    fputs("\\fR", to);
  }
  fputc('\n', to);
  man_page_text(to, o->help);
}

void man_page_command(FILE *to, const command_line *line, const char *synopsis, const char *about) {
  put_synopsis(to, line->command, synopsis);
  man_page_section(to, "DESCRIPTION");
  man_page_text(to, about);
  man_page_section(to, "OPTIONS");
  for (const option *o = line->options; o->name; o++)
    if (o->kind == OPTION_HEADING)
      fprintf(to, ".SS \"%.*s\"\n", (int)strlen(o->name) - 1, o->name); /* without the colon */
    else
      put_option(to, o);
}

void man_page_end(FILE *to, const char *see_also) {
  man_page_section(to, "EXIT STATUS");
  for (int status = REAP_OK; status <= REAP_ERR_STALLED; status++) {
    char number[16];
    snprintf(number, sizeof number, "%d", status);
    man_page_entry(to, number, reap_status_name(status));
  }
  man_page_section(to, "SEE ALSO");
  man_page_text(to, see_also);
}
