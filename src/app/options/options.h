/* Command-line options: a table per command, bound to variables; private to src/app. */
#ifndef REAP_APP_OPTIONS_H
#define REAP_APP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum option_kind {
  OPTION_FLAG,   /* bool: becomes true */
  OPTION_INT,    /* int64_t, at least `least` */
  OPTION_NUMBER, /* double */
  OPTION_SHARE,  /* double, above 0 and up to 1: "0.5" or "50%" */
  OPTION_TEXT,   /* const char * */
  OPTION_LIST,   /* const char *, "a,b"; given again, it adds up */
  OPTION_CHOICE, /* const char *, one of `choices` ("a|b|c") */
  OPTION_HEADING /* no option: a line in the help text */
} option_kind;

typedef struct option {
  const char *name;       /* "--keep"; NULL ends the table */
  const char *short_name; /* "-o" or NULL */
  option_kind kind;
  const char *argument; /* "F": shown in the help; for a choice the choices */
  const char *help;
  void *target;
  int64_t least;
} option;

/* What was given, by the option's place in its table. */
enum { OPTIONS_MOST = 80 };
typedef struct options_given {
  const char *first[OPTIONS_MOST]; /* the value, "" of a flag; NULL: not given */
  char *list[OPTIONS_MOST];        /* lists given more than once, whole; owned */
} options_given;

void options_given_clear(options_given *given);

/* What a command expects besides options. */
typedef struct command_line {
  const char *command; /* "reap prune" */
  const option *options;
  int n_positional; /* so many words, into positional[] */
  const char *const *positional_names;
  const char **positional;
  bool help;      /* --help was given: nothing else was checked */
  int n_optional; /* so many more may be given; */
  int given;      /* words in positional[] */
} command_line;

/* Local. Parses argv[1..]; REAP_ERR_USAGE with one line that names the command and the word. Lists that are given more
 * than once add up, any other option is given once. `given` begins empty, and lives as long as the options' values. */
int options_parse(command_line *line, int argc, char **argv, options_given *given);

/* Local. Which one of `choices` ("a|b|c") `text` is; -1: none of them, or NULL. */
int option_index(const char *choices, const char *text);

/* Local. A number, or one in per cent ("50%"); false for any other text. */
bool option_read_share(const char *text, double *value);

/* Local. Puts one value into its variable, as the command line does. */
int option_store(const char *command, const option *o, const char *text);

/* Local. The present value as text ("" for a text not given) in a new string that the caller owns. */
int option_text(const option *o, char **out);

/* Local. Shortest text that reads back as the same number, so that 0.5 and 0.50 are one. */
enum { OPTION_NUMBER_TEXT = 32 };
void option_number(double value, char text[OPTION_NUMBER_TEXT]);

/* Local. Adds a word to a command line as a shell takes it; the line is the caller's. */
int options_add_word(char **line, const char *word);

/* Prints the table, aligned. */
void options_print(FILE *to, const option *options);

#endif
