#include "progress_view.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/timer.h"
#include "json.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { BAR_WIDTH = 24 };

static const char *duration(double seconds, char text[32]) {
  long s = (long)(seconds + 0.5);
  if (s < 60)
    snprintf(text, 32, "%ld s", s);
  else if (s < 3600)
    snprintf(text, 32, "%ld min %02ld s", s / 60, s % 60);
  else
    snprintf(text, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
  return text;
}

static void show_bar(const reap_progress_event *e, double share, const char *left) {
  char bar[BAR_WIDTH + 1];
  for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < (int)(share * BAR_WIDTH + 0.5) ? '#' : '.';
  bar[BAR_WIDTH] = '\0';
  fputs("\r\033[K", stderr);
  reap_print(stderr, "%-9s[%s] %3.0f %%  %s left  %s%s%s", e->phase, bar, 100 * share, left, e->item ? e->item : "",
             e->detail ? ": " : "", e->detail ? e->detail : "");
  fflush(stderr);
}

static void show_line(const reap_progress_event *e, double share, const char *left) {
  reap_print(stderr, "reap: %s %3.0f %%, %s left  %s%s%s\n", e->phase, 100 * share, left, e->item ? e->item : "",
             e->detail ? ": " : "", e->detail ? e->detail : "");
}

static void show_json(const reap_progress_event *e, double share, double elapsed, double left) {
  cJSON *object = cJSON_CreateObject();
  cJSON_AddStringToObject(object, "phase", e->phase);
  if (e->item) cJSON_AddStringToObject(object, "item", e->item);
  JSON_NUMBERS(object, {"share", share}, {"seconds", elapsed}, {"seconds_left", left});
  if (e->detail) cJSON_AddStringToObject(object, "detail", e->detail);
  char *text = NULL;
  if (json_print(object, false, &text) == REAP_OK)
    fprintf(stderr, "%s\n", text); /* a line of progress may be lost, the run not */
  reap_free(&text);
  cJSON_Delete(object);
}

/* Lines are for logs: events with something to say are all shown, mere counting every ten seconds and at the end. */
static bool worth_showing(const progress_view *v, const reap_progress_event *e, double now) {
  if (v->style == PROGRESS_BAR) return e->detail || now - v->last_shown > 0.1 || e->done >= e->total;
  return e->detail || now - v->last_shown > 10;
}

static void report(void *context, const reap_progress_event *e) {
  progress_view *v = context;
  double now = reap_seconds();
  const char *label = e->detail ? "" : e->item ? e->item : ""; /* of a count the item names the whole, not the step */
  if (strncmp(v->phase, e->phase, sizeof v->phase - 1) != 0 || strncmp(v->label, label, sizeof v->label - 1) != 0) {
    snprintf(v->phase, sizeof v->phase, "%s", e->phase);
    snprintf(v->label, sizeof v->label, "%s", label);
    v->phase_start = v->last_shown = v->last_event; /* it began when the one before ended */
  }
  v->last_event = now;
  if (!worth_showing(v, e, now)) return;
  double share = e->total > 0 ? e->done / e->total : 1, elapsed = now - v->phase_start;
  double left = share > 0 ? elapsed * (1 - share) / share : 0;
  char text[32];
  v->last_shown = now;
  if (v->style == PROGRESS_JSON)
    show_json(e, share, elapsed, left);
  else if (v->style == PROGRESS_BAR)
    show_bar(e, share, duration(left, text));
  else
    show_line(e, share, duration(left, text));
}

void progress_view_start(progress_view *v, const char *style) {
  memset(v, 0, sizeof *v);
  bool terminal = isatty(STDERR_FILENO);
  v->style = strcmp(style, "none") == 0    ? PROGRESS_NONE
             : strcmp(style, "json") == 0  ? PROGRESS_JSON
             : strcmp(style, "bar") == 0   ? PROGRESS_BAR
             : strcmp(style, "lines") == 0 ? PROGRESS_LINES
             : terminal                    ? PROGRESS_BAR
                                           : PROGRESS_LINES;
  v->phase_start = v->last_event = reap_seconds();
  v->callback = (reap_progress){v->style == PROGRESS_NONE ? NULL : report, v};
}

void progress_view_finish(progress_view *v) {
  if (v->style == PROGRESS_BAR) fprintf(stderr, "\r\033[K");
}
