/* Names near to one that is not known, for the end of the message that says so. Local.
 *
 *     reap_nearest near = reap_nearest_to(typed, strlen(typed));
 *     for (...) reap_nearest_offer(&near, names[i], strlen(names[i]));
 *     reap_error(..., "there is no \"%s\"%s", typed, reap_nearest_text(&near, "\"", text));
 */
#ifndef REAP_BASE_NEAREST_H
#define REAP_BASE_NEAREST_H

#include <stddef.h>

enum { REAP_NEAREST_MOST = 3, REAP_NEAREST_TEXT = 256 };

typedef struct reap_nearest {
  const char *typed, *names[REAP_NEAREST_MOST]; /* borrowed; length of each: */
  size_t length, lengths[REAP_NEAREST_MOST];
  int cost, count; /* of the nearest names so far; there may be more than REAP_NEAREST_MOST */
} reap_nearest;

reap_nearest reap_nearest_to(const char *typed, size_t length);

/* Letters' case aside: a name is near that a few letters turn into what was typed, inserted, left out, exchanged or
 * swapped; or if the one contains the other. */
void reap_nearest_offer(reap_nearest *near, const char *name, size_t length);

/* "; did you mean "a" or "b"?" in `text`, with `quote` around each name; "" if no name is near. */
const char *reap_nearest_text(const reap_nearest *near, const char *quote, char text[REAP_NEAREST_TEXT]);

#endif
