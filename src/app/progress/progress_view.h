/* Progress on standard error: a bar on a terminal, lines otherwise, JSON lines for machines. A process has one, as it
 * has one standard error; private to src/app. Local.
 *
 * A thread of its own shows that the clock goes on: a line is never more than ten seconds behind the one before,
 * whatever the run is at. It calls nothing of the library's. Messages of the log go through here as well, past a bar,
 * or as JSON.
 */
#ifndef REAP_APP_PROGRESS_VIEW_H
#define REAP_APP_PROGRESS_VIEW_H

#include <stdbool.h>

#include "reap/log.h"

/* The choices of --progress. */
#define PROGRESS_STYLES "auto|bar|lines|json|none"

/* The clock starts. style: one of those above. first: whether this process speaks for the run; another one that has a
 * style only shows what it is told by details. Started again, it goes on with the style given. */
void progress_view_start(const char *style, bool first);

/* Whether standard error is for machines. */
bool progress_view_is_json(void);

/* To hand to the library; valid for ever, and silent unless it is shown. */
const reap_progress *progress_view_progress(void);

/* A phase that is to come, and the seconds that it may take: see progress_model.h. */
void progress_view_expect(const char *phase, double seconds);

/* Everything is done, or failed: the bar goes, and standard output may be written to. Nothing is shown from here on but
 * messages. */
void progress_view_finish(void);

/* The run is over with this status; message: why it failed. True if that was told (as JSON). */
bool progress_view_end(int status, const char *message);

/* What an error comes to that does not end the run. */
void progress_view_complain(const char *message);

#endif
