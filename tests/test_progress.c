/* progress: share and time to go of runs in phases, by a made-up clock. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/progress/progress_model.h"
#include "app/progress/progress_text.h"
#include "harness.h"

const char *const test_suite_name = "progress";

/* A phase of a run: what it is expected to take, what it takes, and in how many steps. Steps grow: the last takes
 * `growth` times as long as the first, and reports as if they were all alike. */
typedef struct act {
  const char *name;
  double expected, seconds;
  int steps;
  double growth;
} act;

typedef struct run {
  progress_model model;
  double now, end;    /* of the run: what the time to go ought to be */
  double last, worst; /* share; largest factor by which the time to go was off, from a fifth of the time on */
  int unknown, looks; /* looks without a time to go, from a fifth on */
} run;

static void look(run *r) {
  const progress_figures f = progress_model_look(&r->model, r->now);
  const double left = r->end - r->now;
  CU_ASSERT_TRUE(f.share >= r->last && f.share < 1);
  CU_ASSERT_TRUE(isnan(f.left) || f.left >= 0);
  CHECK_NEAR(f.seconds, r->now - 1000, 1e-9);
  r->last = f.share;
  if (r->now - 1000 < 0.2 * (r->end - 1000) || left < 0.02 * (r->end - 1000)) return;
  r->looks++;
  r->unknown += isnan(f.left);
  if (!isnan(f.left)) r->worst = fmax(r->worst, fmax(f.left / left, left / f.left));
}

/* Looks are four to a step. */
static void play(run *r, int n, const act *acts) {
  *r = (run){.now = 1000, .end = 1000, .worst = 1};
  progress_model_start(&r->model, r->now);
  for (int i = 0; i < n; i++) {
    progress_model_expect(&r->model, acts[i].name, acts[i].expected);
    r->end += acts[i].seconds;
  }
  for (int i = 0; i < n; i++) {
    const act *a = &acts[i];
    double sum = 0;
    for (int k = 0; k < a->steps; k++) sum += 1 + (a->growth - 1) * k / a->steps;
    CU_ASSERT_TRUE(progress_model_report(&r->model, a->name, 0, r->now));
    for (int k = 0; k < a->steps; k++) {
      for (int part = 0; part < 4; part++) {
        look(r);
        r->now += a->seconds * (1 + (a->growth - 1) * k / a->steps) / sum / 4;
      }
      CU_ASSERT_TRUE(progress_model_report(&r->model, a->name, (k + 1.0) / a->steps, r->now));
    }
  }
  look(r);
  progress_model_finish(&r->model, r->now);
  const progress_figures f = progress_model_look(&r->model, r->now + 7);
  CU_ASSERT_EQUAL(f.share, 1);
  CU_ASSERT_EQUAL(f.left, 0);
}

/* Machines of any speed, phases that take up to twice as long against each other as was thought, uneven steps. */
static void test_uneven_phases(void) {
  for (double speed = 0.03; speed < 100; speed *= 3) {
    const act acts[] = {{"load", 0, 0.4 * speed, 1, 1},         {"statistics", 20, 16 * speed, 27, 2},
                        {"sensitivity", 12, 20 * speed, 14, 1}, {"trials", 40, 30 * speed, 3, 1.3},
                        {"prune", 60, 85 * speed, 55, 1.5},     {"write", 1, 0.2 * speed, 1, 1}};
    run r;
    play(&r, sizeof acts / sizeof acts[0], acts);
    CU_ASSERT_TRUE(r.looks > 100);
    CU_ASSERT_EQUAL(r.unknown, 0);
    CU_ASSERT_TRUE(r.worst < 2);
    CU_ASSERT_TRUE(r.last > 0.95);
  }
}

/* Nothing is known of the only phase but how much of it is done. */
static void test_one_phase(void) {
  const act acts[] = {{"evaluate", 1, 300, 40, 1}};
  run r;
  play(&r, 1, acts);
  CU_ASSERT_EQUAL(r.unknown, 0);
  CU_ASSERT_TRUE(r.worst < 1.2);
}

/* A step that takes as long as all before: the clock alone moves the figures, and never to the end. */
static void test_waiting(void) {
  progress_model m;
  progress_model_start(&m, 0);
  progress_model_expect(&m, "prune", 10);
  CU_ASSERT_TRUE(isnan(progress_model_look(&m, 5).left));
  CU_ASSERT_TRUE(progress_model_report(&m, "prune", 0, 0));
  CU_ASSERT_TRUE(progress_model_report(&m, "prune", 0.5, 10));
  double share = 0.45;
  for (double now = 10; now < 1000; now *= 1.1) {
    const progress_figures f = progress_model_look(&m, now);
    CU_ASSERT_TRUE(f.left > 0 && f.left < 15 && f.share > share && f.share <= 0.99);
    CU_ASSERT_TRUE(now > 20 || f.left > 4);
    share = fmin(f.share, 0.989);
  }
  CU_ASSERT_TRUE(progress_model_report(&m, "prune", 1, 1000));
  CU_ASSERT_TRUE(progress_model_look(&m, 1000).share < 1);
}

/* Time to go that grows, phases that do not come, names that nobody knows. */
static void test_surprises(void) {
  progress_model m;
  progress_model_start(&m, 0);
  progress_model_expect(&m, "paths", 10);
  progress_model_expect(&m, "trials", 100);
  progress_model_expect(&m, "prune", 10);
  CU_ASSERT_TRUE(progress_model_report(&m, "paths", 0, 0));
  CU_ASSERT_FALSE(progress_model_report(&m, "lunch", 0.5, 5));
  CU_ASSERT_TRUE(progress_model_report(&m, "paths", 1, 10));
  CHECK_NEAR(progress_model_look(&m, 10).left, 110, 5);
  CU_ASSERT_TRUE(progress_model_report(&m, "prune", 0, 10)); /* no trials */
  CHECK_NEAR(progress_model_look(&m, 10).left, 10, 0.5);
  const double share = progress_model_look(&m, 10).share;
  CHECK_NEAR(share, 0.5, 0.05);
  progress_model_expect(&m, "evaluate", 40);
  CU_ASSERT_FALSE(progress_model_report(&m, "paths", 1, 11));
  CU_ASSERT_TRUE(progress_model_report(&m, "prune", 0.1, 11));
  const progress_figures f = progress_model_look(&m, 11);
  CU_ASSERT_EQUAL(f.share, share);
  CHECK_NEAR(f.left, 49, 3);
}

/* What is left of the run stays known when phases are expected anew, and a name too many is left out. */
static void test_expectations(void) {
  progress_model m;
  progress_model_start(&m, 0);
  progress_model_expect(&m, "paths", 10);
  progress_model_expect(&m, "prune", 1000);
  CU_ASSERT_TRUE(progress_model_report(&m, "paths", 0, 0));
  progress_model_expect(&m, "prune", 20);
  CU_ASSERT_EQUAL(m.n, 2);
  CU_ASSERT_TRUE(progress_model_report(&m, "paths", 1, 10));
  CHECK_NEAR(progress_model_look(&m, 10).left, 20, 1);
  for (int i = 0; i < 2 * PROGRESS_PHASES; i++) {
    char name[PROGRESS_NAME];
    snprintf(name, sizeof name, "phase %d", i);
    progress_model_expect(&m, name, 0);
  }
  CU_ASSERT_EQUAL(m.n, PROGRESS_PHASES);
}

/* ------------------------------------------------------------------ the bar */

static int characters(const char *text) {
  int count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
  return count;
}

/* Whatever names hold and however narrow it is: no wider than the terminal, nothing that controls it. */
static void test_bar(void) {
  static const char *const texts[] = {"write", "prune layer1.conv2, moments (for 9 s)",
                                      "prune gr\xc3\xb6\xc3\x9f"
                                      "e \xe6\xbc\xa2\xe5\xad\x97",
                                      "prune a\x1b[31m\xff\r\n"};
  const progress_figures f = {60, 0.5, 59.2};
  char bar[PROGRESS_TEXT];
  for (int columns = 1; columns < 200; columns++)
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
      progress_text_bar_form(&f, texts[i], columns, bar);
      CU_ASSERT_TRUE(characters(bar) <= columns);
      CU_ASSERT_EQUAL(strcspn(bar, "\x1b\xff\r\n"), strlen(bar));
      CU_ASSERT_TRUE(columns < 26 || strstr(bar, " 50 %, 1 min 00 s"));
    }
  progress_text_bar_form(&f, texts[0], 80, bar);
  CU_ASSERT_STRING_EQUAL(bar, "[##########..........]  50 %, 1 min 00 s left  write");
  progress_text_bar_form(&f, texts[2], 199, bar);
  CU_ASSERT_STRING_EQUAL(bar,
                         "[############............]  50 %, 1 min 00 s left  prune gr\xc3\xb6\xc3\x9f"
                         "e \xe6\xbc\xa2\xe5\xad\x97");
  progress_text_bar_form(&(progress_figures){1, 0, NAN}, texts[0], 120, bar);
  CU_ASSERT_PTR_NOT_NULL(strstr(bar, "  0 %, 1 s so far, time to go not known yet  write"));
  progress_text_bar_form(&(progress_figures){1, 0.999, 0.01}, texts[0], 120, bar);
  CU_ASSERT_PTR_NOT_NULL(strstr(bar, " 99 %, 1 s left  write"));
  progress_text_bar_form(&(progress_figures){1, 0.2, 7200}, texts[0], 120, bar);
  CU_ASSERT_PTR_NOT_NULL(strstr(bar, " 20 %, 2 h 00 min left  write"));
}

static void test_lines(void) {
  static const char text[] = "prune conv2: 16 -> 7 channels, error 0.05, with the layer before 0.03";
  const progress_figures f = {60, 0.5, 59.2};
  char line[PROGRESS_TEXT];
  progress_text_line_form(&f, text, 0, line);
  CU_ASSERT_STRING_EQUAL(line,
                         "reap:  50 %, 1 min 00 s left  prune conv2: 16 -> 7 channels, error 0.05, with the "
                         "layer before 0.03");
  for (int columns = 1; columns < 120; columns++) {
    char part[PROGRESS_TEXT];
    progress_text_line_form(&f, text, columns, part);
    CU_ASSERT_TRUE(characters(part) <= columns && strncmp(part, line, strlen(part)) == 0);
    CU_ASSERT_TRUE(characters(part) == columns || strcmp(part, line) == 0);
  }
  progress_text_line_form(NULL,
                          "gr\xc3\xb6\xc3\x9f"
                          "e\n\x1b",
                          0, line);
  CU_ASSERT_STRING_EQUAL(line,
                         "reap: gr\xc3\xb6\xc3\x9f"
                         "e\\x0a\\x1b");
}

const test_case test_cases[] = {{"uneven phases", test_uneven_phases},
                                {"one phase", test_one_phase},
                                {"waiting", test_waiting},
                                {"surprises", test_surprises},
                                {"expectations", test_expectations},
                                {"bar", test_bar},
                                {"lines", test_lines},
                                {NULL, NULL}};
