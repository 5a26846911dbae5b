/* A JSON file as a tree, for files that people edit; private to src/app. Local. */
#ifndef REAP_APP_JSON_FILE_H
#define REAP_APP_JSON_FILE_H

#include <cjson/cJSON.h>

/* REAP_ERR_INPUT names the file, and the line where it is not JSON. The caller deletes the tree. */
int json_file_read(const char *path, cJSON **out);

#endif
