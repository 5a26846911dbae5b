/* JSON files that people edit, as trees, and trees as text; private to src/app. Local. */
#ifndef REAP_APP_JSON_FILE_H
#define REAP_APP_JSON_FILE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

/* REAP_ERR_INPUT names the file, and the line where it is not JSON. Strings and names come back from the escaped form of
 * reap/text.h. The caller deletes the tree. */
int json_file_read(const char *path, cJSON **out);

/* The value as text, always valid UTF-8; NULL without memory. Bytes of names that are no UTF-8 are written in the escaped form of
 * reap/text.h, characters that control a terminal as JSON's \uNNNN. The caller frees it with cJSON_free(). */
char *json_text(const cJSON *value, bool formatted);

#endif
