#include "progress_view.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "base/timer.h"
#include "progress_json.h"
#include "progress_model.h"
#include "progress_text.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef enum progress_style { NONE, BAR, LINES, JSON } progress_style;

static const double LONGEST_SILENCE = 8; /* seconds between lines; the thread looks once a second */

static struct {
  progress_style style;
  bool first, open; /* open: between start and finish */
  progress_model model;
  char phase[PROGRESS_NAME], item[256], part[32]; /* of the last event */
  char *body;                                     /* the same as JSON, without the outer braces */
  double since;                                   /* when item or part began */
  double shown;                                   /* when something was shown last */
  reap_progress progress;
  pthread_t thread;
  bool ticking;
} view;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all of it, and of standard error */
static pthread_cond_t stop;

/* ------------------------------------------------------------------ what is shown */

/* What the run is at; detail may be NULL. */
static void describe(const char *detail, double now, char text[PROGRESS_TEXT]) {
  const double waits = now - view.since;
  int n = snprintf(text, PROGRESS_TEXT, "%s%s%s", view.phase, view.item[0] ? " " : "", view.item);
  if (detail)
    snprintf(text + n, (size_t)(PROGRESS_TEXT - n), ": %s", detail);
  else if (waits >= LONGEST_SILENCE)
    snprintf(text + n, (size_t)(PROGRESS_TEXT - n), "%s%s (%.0f s so far)", view.part[0] ? ", " : "", view.part, waits);
  else
    snprintf(text + n, (size_t)(PROGRESS_TEXT - n), "%s%s", view.part[0] ? ", " : "", view.part);
}

/* Strings as JSON members. */
static void show_json(const char *event, const json_string *strings) {
  const progress_figures f = progress_model_look(&view.model, reap_seconds());
  char *inner = progress_json_inner(strings);
  if (inner) progress_json_print(event, view.first ? &f : NULL, inner);
  reap_free(&inner);
}

/* With the lock held. */
static void show(const char *event, const char *detail) {
  const double now = reap_seconds();
  const progress_figures f = progress_model_look(&view.model, now);
  char text[PROGRESS_TEXT];
  view.shown = now;
  describe(detail, now, text);
  if (view.style == BAR)
    progress_text_bar(&f, text);
  else if (view.style == LINES)
    progress_text_line(view.first ? &f : NULL, text);
  else if (detail)
    show_json(event, (json_string[]){{"phase", view.phase}, {"item", view.item}, {"detail", detail}, {NULL, NULL}});
  else
    progress_json_print(event, &f, view.body);
}

/* ------------------------------------------------------------------ events */

static void note(const reap_progress_event *e, double now) {
  const char *item = e->item ? e->item : "", *part = e->part ? e->part : "";
  if (strncmp(view.item, item, sizeof view.item - 1) != 0 || strncmp(view.part, part, sizeof view.part - 1) != 0)
    view.since = now;
  snprintf(view.phase, sizeof view.phase, "%s", e->phase);
  snprintf(view.item, sizeof view.item, "%s", item);
  snprintf(view.part, sizeof view.part, "%s", part);
  if (view.style != JSON) return;
  reap_free(&view.body);
  view.body = progress_json_inner(
      (json_string[]){{"phase", view.phase}, {"item", view.item}, {"part", view.part}, {NULL, NULL}});
}

/* A name that nobody expected is a phase of its own where none is to come: all there is, or of no account. */
static void tell_model(const reap_progress_event *e, double now) {
  const double share = e->total > 0 ? e->done / e->total : 1;
  if (progress_model_report(&view.model, e->phase, share, now) || view.model.at < view.model.n - 1) return;
  progress_model_expect(&view.model, e->phase, view.model.at > 0 ? 0 : 1);
  progress_model_report(&view.model, e->phase, share, now);
}

static void report(void *context, const reap_progress_event *e) {
  const double now = reap_seconds();
  (void)context;
  pthread_mutex_lock(&lock);
  if (view.open) {
    const bool begins = strncmp(view.phase, e->phase, sizeof view.phase - 1) != 0;
    if (begins) view.since = now;
    note(e, now);
    tell_model(e, now);
    if (e->detail || (begins && view.first) || (view.style == BAR && now - view.shown > 0.1))
      show(begins && !e->detail ? "phase" : "progress", e->detail);
  }
  pthread_mutex_unlock(&lock);
}

static void log_message(void *context, reap_log_level level, const char *message) {
  (void)context;
  pthread_mutex_lock(&lock);
  if (view.style == JSON) {
    const char *name = level == REAP_LOG_WARNING ? "warning" : level == REAP_LOG_INFO ? "info" : "debug";
    show_json("log", (json_string[]){{"level", name}, {"message", message}, {NULL, NULL}});
  } else {
    if (view.style == BAR && view.open) fputs("\r\033[K", stderr);
    reap_print(stderr, "reap: %s%s\n", level == REAP_LOG_WARNING ? "warning: " : "", message);
    view.shown = view.style == BAR ? 0 : reap_seconds();
  }
  pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------ the clock */

static void *tick(void *unused) {
  const long pause = view.style == BAR ? 250000000 : 1000000000;
  (void)unused;
  pthread_mutex_lock(&lock);
  while (view.open) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += pause;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&stop, &lock, &until);
    if (view.open && (view.style == BAR || reap_seconds() - view.shown >= LONGEST_SILENCE)) show("progress", NULL);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* Signals are the run's. Without the thread, lines come as events do. */
static void start_clock(void) {
  pthread_condattr_t monotonic;
  sigset_t all, before;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&stop, &monotonic);
  pthread_condattr_destroy(&monotonic);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  view.ticking = pthread_create(&view.thread, NULL, tick, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ------------------------------------------------------------------ beginning and end */

static progress_style style_of(const char *name) {
  return strcmp(name, "none") == 0     ? NONE
         : strcmp(name, "json") == 0   ? JSON
         : strcmp(name, "bar") == 0    ? BAR
         : strcmp(name, "lines") == 0  ? LINES
         : progress_text_on_terminal() ? BAR
                                       : LINES;
}

void progress_view_start(const char *style, bool first) {
  progress_view_finish();
  const double now = reap_seconds();
  view.style = style_of(style);
  view.first = first;
  view.progress = (reap_progress){view.style == NONE ? NULL : report, NULL};
  if (view.style == NONE) return;
  progress_model_start(&view.model, now);
  progress_model_expect(&view.model, "start", 0);
  progress_model_report(&view.model, "start", 0, now);
  note(&(reap_progress_event){.phase = "start"}, now);
  view.shown = view.since = now;
  view.open = true;
  if (!first) return;
  reap_log_set_sink(log_message, NULL);
  const progress_figures f = progress_model_look(&view.model, now);
  if (view.style == JSON) progress_json_print("start", &f, PROGRESS_JSON_FORM);
  start_clock();
}

bool progress_view_is_json(void) { return view.style == JSON; }

const reap_progress *progress_view_progress(void) { return &view.progress; }

void progress_view_expect(const char *phase, double seconds) {
  pthread_mutex_lock(&lock);
  progress_model_expect(&view.model, phase, seconds);
  pthread_mutex_unlock(&lock);
}

void progress_view_finish(void) {
  pthread_mutex_lock(&lock);
  if (view.open && view.style == BAR) fputs("\r\033[K", stderr);
  view.open = false;
  if (view.ticking) pthread_cond_signal(&stop);
  pthread_mutex_unlock(&lock);
  if (view.ticking) {
    pthread_join(view.thread, NULL);
    pthread_cond_destroy(&stop);
  }
  view.ticking = false;
  reap_free(&view.body);
}

bool progress_view_end(int status, const char *message) {
  progress_view_finish();
  const bool tells = view.style == JSON && view.first;
  if (status == REAP_OK) progress_model_finish(&view.model, reap_seconds());
  if (tells)
    show_json("end",
              (json_string[]){
                  {"status", reap_status_name(status)}, {"message", status == REAP_OK ? "" : message}, {NULL, NULL}});
  reap_log_set_sink(NULL, NULL);
  view.style = NONE;
  return tells;
}

void progress_view_complain(const char *message) {
  if (view.style == JSON)
    show_json("log", (json_string[]){{"level", "error"}, {"message", message}, {NULL, NULL}});
  else
    reap_print(stderr, "reap: %s\n", message);
}
