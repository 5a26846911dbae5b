/* Share and time to go; see progress_model.h.
 *
 * Method: with A the seconds taken by what is done and E those expected for it, what is to come is expected to take
 * A / E times as long as it was said to. Of the phase at hand its own ratio counts more and more, since phases differ
 * in what they compute. Both ratios begin at a small prior, or the first moments would decide. Between two reports the
 * time to go shrinks with the clock, ever more slowly, and never vanishes. The share is that of time, so that both
 * figures agree; it stays where it is when the time to go grows.
 *
 * Cost: nothing. Failure modes: phases whose expectations are off against each other put the figures off, until they
 * are over.
 */
#include "progress_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double PRIOR = 0.005;     /* weight, in shares of all that is expected, of the expectation itself */
static const double OWN_PRIOR = 0.3;   /* in shares of what is left of a phase, of what the run has shown so far */
static const double LEAST_DONE = 0.02; /* share of what is expected that has to be done before a time to go is told */
static const double MOST_SHARE = 0.99; /* before the end */

void progress_model_start(progress_model *m, double now) {
  *m = (progress_model){.at = -1, .start = now, .begin = now, .event = now, .left = NAN};
}

/* Among phases from `first` on; -1: there is none. */
static int find(const progress_model *m, int first, const char *name) {
  for (int i = first < 0 ? 0 : first; i < m->n; i++)
    if (strncmp(m->phases[i].name, name, PROGRESS_NAME - 1) == 0) return i;
  return -1;
}

void progress_model_expect(progress_model *m, const char *name, double seconds) {
  int i = find(m, m->at + 1, name);
  if (i < 0 && m->n == PROGRESS_PHASES) return;
  if (i < 0) snprintf(m->phases[i = m->n++].name, PROGRESS_NAME, "%s", name);
  m->phases[i].expected = isfinite(seconds) && seconds > 0 ? seconds : 0;
}

/* Phases of which nothing was expected say nothing about the others. */
static void estimate(progress_model *m, double now) {
  double expected = 0, done = 0, taken = 0, to_come = 0;
  const double own = m->phases[m->at].expected, spent = now - m->begin;
  for (int i = 0; i < m->n; i++) {
    const progress_phase *p = &m->phases[i];
    expected += p->expected;
    if (i < m->at && p->expected > 0) taken += p->spent;
    *(i < m->at ? &done : &to_come) += i == m->at ? 0 : p->expected;
  }
  if (own > 0) taken += spent;
  done += m->done * own;
  const double pace = (taken + PRIOR * expected) / (done + PRIOR * expected);
  const double prior = OWN_PRIOR * (1 - m->done);
  const double own_pace = (spent + pace * prior * own) / ((m->done + prior) * own);
  m->left = done < LEAST_DONE * expected || expected == 0
                ? NAN
                : to_come * pace + (own > 0 ? (1 - m->done) * own * own_pace : 0);
}

static void go_on(progress_model *m, int next, double now) {
  if (m->at >= 0) m->phases[m->at].spent = now - m->begin;
  for (int i = m->at + 1; i < next; i++) m->phases[i].expected = 0;
  m->at = next;
  m->begin = now;
  m->done = 0;
}

bool progress_model_report(progress_model *m, const char *name, double done, double now) {
  const int i = find(m, m->at, name);
  if (i < 0) return false;
  if (i != m->at) go_on(m, i, done > 0 ? m->event : now); /* not told at its beginning: it began at the last report */
  m->done = fmax(m->done, fmin(done, 1));
  m->event = now;
  estimate(m, now);
  return true;
}

void progress_model_finish(progress_model *m, double now) {
  m->event = now;
  m->left = 0;
  m->share = 1;
}

progress_figures progress_model_look(progress_model *m, double now) {
  progress_figures f = {.seconds = now - m->start, .share = m->share, .left = m->left};
  const double waited = now - m->event;
  if (f.share == 1) return f;
  if (f.left > 0) f.left *= f.left / (f.left + waited);
  f.left = isnan(f.left) ? NAN : fmax(f.left, (1 / MOST_SHARE - 1) * f.seconds);
  if (f.seconds > 0 && !isnan(f.left)) m->share = fmax(m->share, fmin(MOST_SHARE, f.seconds / (f.seconds + f.left)));
  f.share = m->share;
  return f;
}
