#include "json_file.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { FIRST_BYTES = 16 << 10, MOST_BYTES = 16 << 20 }; /* growing by four */

static int read_text(const char *path, char **text) {
  FILE *file = fopen(path, "rb");
  if (!file) return reap_error_system("%s: cannot be read", path);
  size_t bytes = 0, room = FIRST_BYTES;
  int status = reap_alloc(text, FIRST_BYTES + 1, 1);
  while (status == REAP_OK) {
    bytes += fread(*text + bytes, 1, room - bytes, file);
    if (bytes < room || room == MOST_BYTES) break;
    room *= 4;
    status = reap_grow(text, (int64_t)bytes, (int64_t)room + 1, 1);
  }
  if (status == REAP_OK) {
    (*text)[bytes] = '\0';
    if (ferror(file) || !feof(file))
      status = reap_error(REAP_ERR_INPUT, "%s: %s", path, ferror(file) ? "cannot be read" : "too large");
    else if (strlen(*text) != bytes)
      status = reap_error(REAP_ERR_INPUT, "%s: it has zero bytes in it", path);
  }
  fclose(file);
  return status;
}

static int parse(const char *path, const char *text, cJSON **out) {
  const char *stop = NULL;
  *out = cJSON_ParseWithOpts(text, &stop, true);
  REAP_TRY(reap_error_prefix(json_status(), "%s", path));
  if (*out) return REAP_OK;
  int line = 1;
  for (const char *c = text; stop && c < stop; c++) line += *c == '\n';
  return reap_error(REAP_ERR_INPUT, "%s: line %d is not JSON", path, line);
}

/* Recursion is bounded by the parser. */
static void unescape_names(cJSON *value) {
  if (value->string) reap_text_unescape(value->string);
  if (cJSON_IsString(value)) reap_text_unescape(value->valuestring);
  for (cJSON *item = value->child; item; item = item->next) unescape_names(item);
}

int json_file_read(const char *path, cJSON **out) {
  char *text = NULL;
  int status = read_text(path, &text);
  if (status == REAP_OK) status = parse(path, text, out);
  reap_free(&text);
  if (status == REAP_OK) unescape_names(*out);
  return status;
}
