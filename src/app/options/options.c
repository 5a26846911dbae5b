#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "reap/error.h"
#include "reap/memory.h"

static const option *find(const option *options, const char *word, size_t length) {
  for (const option *o = options; o->name; o++) {
    if (o->kind == OPTION_HEADING) continue;
    if (strlen(o->name) == length && strncmp(o->name, word, length) == 0) return o;
    if (o->short_name && strlen(o->short_name) == length && strncmp(o->short_name, word, length) == 0) return o;
  }
  return NULL;
}

int option_index(const char *choices, const char *text) {
  const size_t n = text ? strlen(text) : 0;
  int index = 0;
  for (const char *c = choices; n > 0 && c; c = strchr(c, '|'), c = c ? c + 1 : NULL, index++)
    if (strncmp(c, text, n) == 0 && (c[n] == '|' || c[n] == '\0')) return index;
  return -1;
}

/* Digits are scaled, not the number: 33.3% is 0.333. */
bool option_read_share(const char *text, double *value) {
  char number[64], *end = NULL;
  *value = strtod(text, &end);
  if (end != text && *end == '%' && !end[1] && end - text < (long)sizeof number - 4) {
    snprintf(number, sizeof number, "%.*se-2", (int)(end - text), text);
    *value = strtod(number, &end);
    return !*end && isfinite(*value);
  }
  return end != text && !*end && isfinite(*value);
}

static int store_share(const char *command, const option *o, const char *text) {
  double value;
  const bool read = option_read_share(text, &value);
  if (read && value > 0 && value <= 1) {
    *(double *)o->target = value;
    return REAP_OK;
  }
  const bool percent = read && value >= 10 && value <= 100 && !strchr(text, '%');
  return reap_error(REAP_ERR_USAGE, "%s: %s wants a share above 0 and up to 1 (0.5, or 50%%), not \"%s\"%s%s%s",
                    command, o->name, text, percent ? "; did you mean " : "", percent ? text : "", percent ? "%?" : "");
}

static int refuse_choice(const char *command, const option *o, const char *text) {
  char nearest[REAP_NEAREST_TEXT];
  reap_nearest near = reap_nearest_to(text, strlen(text));
  for (const char *c = o->argument; *c; c += c[strcspn(c, "|")] == '|') {
    reap_nearest_offer(&near, c, strcspn(c, "|"));
    c += strcspn(c, "|");
  }
  return reap_error(REAP_ERR_USAGE, "%s: %s wants one of %s, not \"%s\"%s", command, o->name, o->argument, text,
                    reap_nearest_text(&near, "", nearest));
}

int option_store(const char *command, const option *o, const char *text) {
  char *end = NULL;
  errno = 0;
  switch (o->kind) {
    case OPTION_INT: {
      long long value = strtoll(text, &end, 10);
      if (errno || end == text || *end || value < o->least)
        return reap_error(REAP_ERR_USAGE, "%s: %s wants a whole number of at least %lld, not \"%s\"", command, o->name,
                          (long long)o->least, text);
      *(int64_t *)o->target = value;
      return REAP_OK;
    }
    case OPTION_NUMBER: {
      double value = strtod(text, &end);
      if (end == text || *end || !isfinite(value))
        return reap_error(REAP_ERR_USAGE, "%s: %s wants a number, not \"%s\"", command, o->name, text);
      *(double *)o->target = value;
      return REAP_OK;
    }
    case OPTION_SHARE:
      return store_share(command, o, text);
    case OPTION_CHOICE:
      if (option_index(o->argument, text) < 0) return refuse_choice(command, o, text);
      *(const char **)o->target = text;
      return REAP_OK;
    default:
      *(const char **)o->target = text;
      return REAP_OK;
  }
}

void option_number(double value, char text[OPTION_NUMBER_TEXT]) {
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(text, OPTION_NUMBER_TEXT, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
}

int options_add_word(char **line, const char *word) {
  char *longer = NULL;
  const char *quote = word[0] == '\0' || strpbrk(word, " \t\n\"'$\\*?") ? "'" : "";
  REAP_TRY(reap_format(&longer, "%s %s%s%s", *line, quote, word, quote));
  reap_free(line);
  *line = longer;
  return REAP_OK;
}

int option_text(const option *o, char **out) {
  char number[OPTION_NUMBER_TEXT];
  switch (o->kind) {
    case OPTION_FLAG:
      return reap_strdup(out, *(const bool *)o->target ? "on" : "off");
    case OPTION_INT:
      return reap_format(out, "%lld", (long long)*(const int64_t *)o->target);
    case OPTION_NUMBER:
    case OPTION_SHARE:
      option_number(*(const double *)o->target, number);
      return reap_strdup(out, number);
    case OPTION_HEADING:
      return reap_strdup(out, "");
    default: {
      const char *text = *(const char *const *)o->target;
      return reap_strdup(out, text ? text : "");
    }
  }
}

void options_given_clear(options_given *given) {
  for (int i = 0; i < OPTIONS_MOST; i++) reap_free(&given->list[i]);
}

/* What an option given once more comes to. */
static int add_up(const command_line *line, const option *o, const char *text, options_given *given) {
  const size_t k = (size_t)(o - line->options);
  char *longer = NULL;
  if (o->kind == OPTION_FLAG) return reap_error(REAP_ERR_USAGE, "%s: %s is given twice", line->command, o->name);
  if (o->kind != OPTION_LIST)
    return reap_error(REAP_ERR_USAGE, "%s: %s is given twice, as \"%s\" and as \"%s\"; which one is meant?",
                      line->command, o->name, given->first[k], text);
  REAP_TRY(reap_format(&longer, "%s,%s", *(const char **)o->target, text));
  reap_free(&given->list[k]);
  *(const char **)o->target = given->list[k] = longer;
  return REAP_OK;
}

static int take(const command_line *line, const option *o, const char *text, options_given *given) {
  const char **first = &given->first[o - line->options];
  if (*first) return add_up(line, o, text, given);
  *first = text;
  if (o->kind != OPTION_FLAG) return option_store(line->command, o, text);
  *(bool *)o->target = true;
  return REAP_OK;
}

static int refuse_option(const command_line *line, const char *word, size_t length) {
  char nearest[REAP_NEAREST_TEXT];
  reap_nearest near = reap_nearest_to(word, length);
  for (const option *o = line->options; o->name; o++)
    if (o->kind != OPTION_HEADING) reap_nearest_offer(&near, o->name, strlen(o->name));
  return reap_error(REAP_ERR_USAGE, "%s: there is no option \"%.*s\"%s", line->command, (int)length, word,
                    reap_nearest_text(&near, "", nearest));
}

static int parse_option(command_line *line, int argc, char **argv, int *at, options_given *given) {
  const char *word = argv[*at], *equals = strchr(word, '=');
  size_t length = equals ? (size_t)(equals - word) : strlen(word);
  const option *o = find(line->options, word, length);
  if (!o) return refuse_option(line, word, length);
  if (o->kind == OPTION_FLAG) {
    if (equals) return reap_error(REAP_ERR_USAGE, "%s: %s takes no value", line->command, o->name);
    return take(line, o, "", given);
  }
  if (equals) return take(line, o, equals + 1, given);
  const char *value = *at + 1 < argc ? argv[*at + 1] : NULL;
  if (!value) return reap_error(REAP_ERR_USAGE, "%s: %s wants a value (%s)", line->command, o->name, o->argument);
  if (find(line->options, value, strcspn(value, "=")))
    return reap_error(REAP_ERR_USAGE, "%s: %s wants a value (%s), and the option %s follows", line->command, o->name,
                      o->argument, value);
  return take(line, o, argv[++*at], given);
}

int options_parse(command_line *line, int argc, char **argv, options_given *given) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      line->help = true;
      return REAP_OK;
    }
  int words = 0;
  bool only_names = false;
  for (int i = 1; i < argc; i++) {
    if (!only_names && strcmp(argv[i], "--") == 0) {
      only_names = true;
    } else if (!only_names && argv[i][0] == '-' && argv[i][1]) {
      REAP_TRY(parse_option(line, argc, argv, &i, given));
    } else if (words == line->n_positional + line->n_optional) {
      return reap_error(REAP_ERR_USAGE, "%s: \"%s\" is one word too many", line->command, argv[i]);
    } else {
      line->positional[words++] = argv[i];
    }
  }
  line->given = words;
  if (words < line->n_positional)
    return reap_error(REAP_ERR_USAGE, "%s: %s is missing", line->command, line->positional_names[words]);
  return REAP_OK;
}

/* Name and argument; of a long list of choices a line ends behind a '|'. */
static void print_long(FILE *to, const char *text) {
  enum { INDENT = 4, WIDTH = 96 };
  const char *line = text;
  for (const char *c = text; *c; c += strcspn(c, "|") + (c[strcspn(c, "|")] == '|')) {
    const char *end = c + strcspn(c, "|");
    if (end - line <= WIDTH) continue;
    fprintf(to, "%.*s\n%*s", (int)(c - line), line, INDENT, "");
    line = c;
  }
  fprintf(to, "%s\n", line);
}

void options_print(FILE *to, const option *options) {
  for (const option *o = options; o->name; o++) {
    if (o->kind == OPTION_HEADING) {
      fprintf(to, "\n%s\n", o->name);
      continue;
    }
    char left[320];
    snprintf(left, sizeof left, "%s%s%s%s%s", o->short_name ? o->short_name : "", o->short_name ? ", " : "", o->name,
             o->kind == OPTION_FLAG ? "" : " ", o->kind == OPTION_FLAG ? "" : o->argument);
    if (strlen(left) > 26) {
      fprintf(to, "  ");
      print_long(to, left);
    }
    fprintf(to, "  %-27s", strlen(left) > 26 ? "" : left);
    for (const char *text = o->help, *next; text; text = next) { /* a line break in the text goes on in its column */
      const char *stop = strchr(text, '\n');
      next = stop ? stop + 1 : NULL;
      fprintf(to, "%.*s\n", (int)(stop ? stop - text : (long)strlen(text)), text);
      if (next) fprintf(to, "  %-27s", "");
    }
  }
}
