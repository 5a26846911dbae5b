#include "documents.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "app/options/completion.h"
#include "app/options/man_page.h"
#include "reap/error.h"

/* Commands, and each part of those that have parts, one after the other. */
typedef struct page {
  const command *command;
  char part[32], words[64], summary[160]; /* "solve", "reap bench solve"; or "", "reap prune" */
} page;

/* Page `k`; false behind the last. */
static bool page_at(const command *commands, int n, int k, page *out) {
  for (int i = 0; i < n; i++) {
    const char *part = commands[i].parts ? commands[i].parts : "", *summary = commands[i].summary;
    do {
      const size_t length = strcspn(part, "|"), summary_length = strcspn(summary, "|");
      if (k-- == 0) {
        out->command = &commands[i];
        snprintf(out->part, sizeof out->part, "%.*s", (int)length, part);
        snprintf(out->words, sizeof out->words, "reap %s%s%s", commands[i].name, length ? " " : "", out->part);
        snprintf(out->summary, sizeof out->summary, "%.*s", (int)summary_length, summary);
        return true;
      }
      summary += summary_length + (summary[summary_length] == '|');
      part += length + (part[length] == '|');
    } while (*part);
  }
  return false;
}

/* The command stops at command_begin(), which prints. */
static int print(document_kind kind, const page *p) {
  char *words[] = {(char *)(uintptr_t)p->command->name, (char *)(uintptr_t)p->part};
  const command_context context = {.argc = *p->part ? 2 : 1, .argv = words, .document = kind};
  return p->command->run(&context);
}

static int print_completion(const command *commands, int n) {
  page p;
  completion_begin(stdout);
  for (int i = 0; i < n; i++) printf("%s ", commands[i].name);
  completion_options(stdout);
  for (int k = 0; page_at(commands, n, k, &p); k++) REAP_TRY(print(DOCUMENT_COMPLETION, &p));
  completion_end(stdout);
  return REAP_OK;
}

static void print_overview(const command *commands, int n, const char *about) {
  page p;
  man_page_begin(stdout, "reap", "prunes trained networks without retraining them");
  man_page_section(stdout, "SYNOPSIS");
  man_page_text(stdout, "reap COMMAND ...");
  man_page_section(stdout, "DESCRIPTION");
  man_page_text(stdout, about);
  man_page_text(
      stdout,
      "To run on P ranks, put mpirun -n P before it. Each command has a page of its own, such as reap-prune(1).");
  man_page_section(stdout, "COMMANDS");
  for (int k = 0; page_at(commands, n, k, &p); k++) man_page_entry(stdout, p.words, p.summary);
  man_page_section(stdout, "ENVIRONMENT");
  man_page_entry(stdout, "OMP_NUM_THREADS", "threads of each rank, where --threads is not given");
  man_page_entry(stdout, "TMPDIR", "folder of scratch files, where --scratch is not given");
  man_page_end(stdout, "reap-prune(1), mpirun(1)");
}

/* part NULL: the first one. */
static int print_man(const command *commands, int n, const char *name, const char *part) {
  page p;
  for (int k = 0; page_at(commands, n, k, &p); k++) {
    if (strcmp(p.command->name, name) != 0 || (part && strcmp(p.part, part) != 0)) continue;
    man_page_begin(stdout, p.words, p.summary);
    REAP_TRY(print(DOCUMENT_MAN_PAGE, &p));
    man_page_end(stdout, "reap(1)");
    return REAP_OK;
  }
  fprintf(stderr, "reap: there is no page on %s\n", name);
  return REAP_ERR_USAGE;
}

bool documents_print(int argc, char **argv, const command *commands, int n, const char *about, int *status) {
  const char *what = argc > 1 ? argv[1] : "";
  *status = REAP_OK;
  if (strcmp(what, "print-completion") == 0)
    *status = print_completion(commands, n);
  else if (strcmp(what, "print-man") != 0)
    return false;
  else if (argc == 2)
    print_overview(commands, n, about);
  else
    *status = print_man(commands, n, argv[2], argc > 3 ? argv[3] : NULL);
  return true;
}
