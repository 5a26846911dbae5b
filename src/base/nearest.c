#include "nearest.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* An edit costs 2. Longer names have no place in a message. */
enum { CONTAINED = 3, LONGEST = 200 };
static int tolerance(size_t length) { return 2 * ((int)(length + 2) / 4); }

reap_nearest reap_nearest_to(const char *typed, size_t length) {
  return (reap_nearest){.typed = typed, .length = length, .cost = INT_MAX};
}

static int least(int a, int b) { return a < b ? a : b; }

static bool same(char a, char b) { return strncasecmp(&a, &b, 1) == 0; }

/* Damerau's and Levenshtein's distance, by rows: each letter is edited once at most. */
static int distance(const char *a, size_t n, const char *b, size_t m) {
  int rows[3][LONGEST + 1];
  for (size_t k = 0; k <= m; k++) rows[0][k] = (int)k;
  for (size_t i = 1; i <= n; i++) {
    int *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
    now[0] = (int)i;
    for (size_t k = 1; k <= m; k++) {
      now[k] = least(least(now[k - 1], last[k]) + 1, last[k - 1] + !same(a[i - 1], b[k - 1]));
      if (i > 1 && k > 1 && same(a[i - 1], b[k - 2]) && same(a[i - 2], b[k - 1]))
        now[k] = least(now[k], before[k - 2] + 1);
    }
  }
  return rows[n % 3][m];
}

static bool contains(const char *text, size_t length, const char *part, size_t part_length) {
  enum { SHORTEST = 3 }; /* that tells something */
  if (part_length < SHORTEST) return false;
  for (size_t i = 0; i + part_length <= length; i++)
    if (strncasecmp(text + i, part, part_length) == 0) return true;
  return false;
}

void reap_nearest_offer(reap_nearest *near, const char *name, size_t length) {
  if (length > LONGEST || near->length > LONGEST) return;
  int cost = 2 * distance(near->typed, near->length, name, length);
  const bool contained =
      contains(name, length, near->typed, near->length) || contains(near->typed, near->length, name, length);
  if (contained && cost > CONTAINED) cost = CONTAINED;
  if (!contained && cost > tolerance(near->length)) return;
  if (cost > near->cost) return;
  if (cost < near->cost) near->count = 0;
  near->cost = cost;
  for (int k = 0; k < least(near->count, REAP_NEAREST_MOST); k++)
    if (near->lengths[k] == length && memcmp(near->names[k], name, length) == 0) return;
  if (near->count < REAP_NEAREST_MOST) {
    near->names[near->count] = name;
    near->lengths[near->count] = length;
  }
  near->count++;
}

const char *reap_nearest_text(const reap_nearest *near, const char *quote, char text[REAP_NEAREST_TEXT]) {
  const bool more = near->count > REAP_NEAREST_MOST;
  const int shown = more ? REAP_NEAREST_MOST : near->count;
  size_t used = 0;
  text[0] = '\0';
  for (int k = 0; k < shown && used < REAP_NEAREST_TEXT; k++)
    used += (size_t)snprintf(text + used, REAP_NEAREST_TEXT - used, "%s%s%.*s%s",
                             k == 0                    ? "; did you mean "
                             : k == shown - 1 && !more ? " or "
                                                       : ", ",
                             quote, (int)near->lengths[k], near->names[k], quote);
  if (used > 0 && used < REAP_NEAREST_TEXT)
    used += (size_t)snprintf(text + used, REAP_NEAREST_TEXT - used, more ? ", ...?" : "?");
  if (used >= REAP_NEAREST_TEXT) text[0] = '\0'; /* such long names are no help */
  return text;
}
