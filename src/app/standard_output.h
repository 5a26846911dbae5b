/* Standard output as the place of one JSON document, for programs that read it; private to src/app. Local. */
#ifndef REAP_APP_STANDARD_OUTPUT_H
#define REAP_APP_STANDARD_OUTPUT_H

#include <stdbool.h>

/* True for "-". */
bool standard_output_is(const char *path);

/* From now on everything that is printed goes to standard error, also by libraries, but for what
 * standard_output_write() writes; nowhere if standard error is for machines. */
int standard_output_take(void);

/* One text and a line's end. REAP_ERR_INPUT, or REAP_ERR_RESOURCE on a full disk, if it cannot be written whole. */
int standard_output_write(const char *text);

#endif
