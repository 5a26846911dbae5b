#include "json_file.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "reap/text.h"

enum { MOST_BYTES = 16 << 20 };

static int read_text(const char *path, char **text) {
  FILE *file = fopen(path, "rb");
  if (!file) return reap_error(REAP_ERR_INPUT, "%s: cannot be read", path);
  int status = reap_alloc(text, MOST_BYTES + 1, 1);
  if (status == REAP_OK) {
    const size_t bytes = fread(*text, 1, MOST_BYTES, file);
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

/* ------------------------------------------------------------------ writing */

/* The character at `from`, of JSON as cJSON writes it, in valid form: its bytes to `to`, at most six for each of its own.
 * Returns the bytes read. */
static size_t convert_character(const char *from, char **to) {
  const size_t length = reap_text_character(from);
  if (from[0] == '\\') { /* an escape of JSON: two bytes belong together */
    const bool byte_like = from[1] == '\\' && from[2] == 'x' && isxdigit((unsigned char)from[3]) && isxdigit((unsigned char)from[4]);
    *to += sprintf(*to, byte_like ? "\\\\x5c" : "\\%c", from[1]);
    return 2;
  }
  if (length == 0) {
    *to += sprintf(*to, "\\\\x%02x", (unsigned)(unsigned char)from[0]);
    return 1;
  }
  if (length > 1 ? reap_text_controls(from, length) : from[0] == 0x7f) {
    *to += sprintf(*to, "\\u%04x", reap_text_code_point(from, length));
    return length;
  }
  memcpy(*to, from, length);
  *to += length;
  return length;
}

char *json_text(const cJSON *value, bool formatted) {
  char *raw = formatted ? cJSON_Print(value) : cJSON_PrintUnformatted(value);
  char *text = raw ? cJSON_malloc(6 * strlen(raw) + 1) : NULL, *to = text;
  for (const char *from = raw; text && *from;) from += convert_character(from, &to);
  if (text) *to = '\0';
  cJSON_free(raw);
  return text;
}
