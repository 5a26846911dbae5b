/* JSON files that people edit, as trees, and trees as text; private to src/app. Local. */
#ifndef REAP_APP_JSON_FILE_H
#define REAP_APP_JSON_FILE_H

#include "json.h"

/* REAP_ERR_INPUT names the file, and the line where it is not JSON. Strings and names come back from the escaped form
 * of reap/text.h. The caller deletes the tree. */
int json_file_read(const char *path, cJSON **out);

#endif
