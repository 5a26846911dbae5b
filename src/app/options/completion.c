#include "completion.h"

#include <string.h>

/* Values are words ("=a b"), files ("*.h5"), folders ("/"), or unknown ("?"). Bash may have split --option=value. */
static const char FUNCTION[] =
    "_reap_reply() { # ARGS of compgen\n"
    "  local line\n"
    "  while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen \"$@\" -- \"$cur\")\n"
    "}\n"
    "\n"
    "_reap() {\n"
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} at=2 values\n"
    "  COMPREPLY=()\n"
    "  if [ \"$cur\" = = ]; then cur=; fi\n"
    "  if [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
    "  if [ \"$command\" = help ] && [ \"$COMP_CWORD\" -gt 2 ]; then command=${COMP_WORDS[2]} at=3; fi\n"
    "  if [ \"$COMP_CWORD\" = 1 ] || [ \"$command\" = help ]; then\n"
    "    _reap_reply -W \"$_reap_commands\"\n"
    "    return\n"
    "  fi\n"
    "  if [ \"$command\" = bench ] && [ \"$COMP_CWORD\" = \"$at\" ]; then\n"
    "    _reap_reply -W 'solve layers'\n"
    "    return\n"
    "  fi\n"
    "  if [ \"$command\" = bench ]; then command=\"bench ${COMP_WORDS[at]}\"; fi\n"
    "  values=${_reap_values[\"$command $prev\"]-}\n"
    "  case $values in\n"
    "    =*) _reap_reply -W \"${values#=}\" ;;\n"
    "    /) _reap_reply -d ;;\n"
    "    \\?) ;;\n"
    "    ?*) _reap_reply -f -X \"!$values\" && _reap_reply -d ;;\n"
    "    *)\n"
    "      case $cur in\n"
    "        -*) _reap_reply -W \"${_reap_options[$command]-}\" ;;\n"
    "        *) _reap_reply -f ;;\n"
    "      esac\n"
    "      ;;\n"
    "  esac\n"
    "}\n"
    "complete -o filenames -F _reap reap\n";

void completion_begin(FILE *to) {
  fputs(
      "# Completion of reap's command lines in bash, made by the program itself.\n"
      "declare -gA _reap_options _reap_values\n"
      "_reap_commands='",
      to);
}

void completion_options(FILE *to) { fputs("help --help --version'\n", to); }

static void put_words(FILE *to, const char *choices) {
  for (const char *c = choices; *c; c++) fputc(*c == '|' ? ' ' : *c, to);
}

/* The name of a file tells its ending. */
static void put_values(FILE *to, const option *o) {
  const char *dot = strrchr(o->argument, '.');
  if (o->kind == OPTION_CHOICE || (o->kind == OPTION_LIST && strchr(o->argument, '|') && !strchr(o->argument, '.'))) {
    fputc('=', to);
    put_words(to, o->argument);
  } else if (o->kind == OPTION_TEXT && dot && dot[1] != '.' && !strchr(o->argument, ',')) {
    fprintf(to, "*%s", dot);
  } else {
    fputs(strcmp(o->argument, "DIR") == 0 ? "/" : strcmp(o->argument, "ORIGINAL") == 0 ? "*" : "?", to);
  }
}

static const char *name_of(const command_line *line) { return line->command + strlen("reap "); }

static void put_value(FILE *to, const command_line *line, const option *o, const char *name) {
  fprintf(to, "_reap_values[\"%s %s\"]='", name_of(line), name);
  put_values(to, o);
  fputs("'\n", to);
}

void completion_command(FILE *to, const command_line *line) {
  fprintf(to, "_reap_options[\"%s\"]='", name_of(line));
  for (const option *o = line->options; o->name; o++)
    if (o->kind != OPTION_HEADING) fprintf(to, "%s ", o->name);
  fputs("'\n", to);
  for (const option *o = line->options; o->name; o++) {
    if (o->kind == OPTION_HEADING || o->kind == OPTION_FLAG) continue;
    put_value(to, line, o, o->name);
    if (o->short_name) put_value(to, line, o, o->short_name);
  }
}

void completion_end(FILE *to) { fputs(FUNCTION, to); }
