/* Progress as machines read it: a JSON object in each line of standard error (README.md); private to src/app. Local. */
#ifndef REAP_APP_PROGRESS_JSON_H
#define REAP_APP_PROGRESS_JSON_H

#include "progress_model.h"

/* Members of the first line. */
#define PROGRESS_JSON_FORM "\"format\":\"reap-progress\",\"version\":1"

typedef struct json_string {
  const char *name, *text; /* an empty text is left out */
} json_string;

/* The members of an object, without its braces, of strings that end with a name of NULL; the caller frees them
 * (reap_free). NULL where there is no memory: a line of progress may be lost, the run not. */
char *progress_json_inner(const json_string *strings);

/* The line of an event: the figures (NULL: this process does not speak for the run), and members made before (NULL:
 * none). */
void progress_json_print(const char *event, const progress_figures *figures, const char *inner);

#endif
