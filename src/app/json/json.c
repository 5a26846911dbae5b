#include "json.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "reap/error.h"
#include "reap/memory.h"

static bool refused;

static void *allocate(size_t bytes) {
  char *block = NULL;
  if (reap_alloc(&block, (int64_t)bytes, 1) != REAP_OK) refused = true;
  return block;
}

static void release(void *block) { reap_free(&block); }

void json_set_up(void) {
  cJSON_Hooks hooks = {allocate, release};
  cJSON_InitHooks(&hooks);
  refused = false;
}

int json_status(void) {
  if (!refused) return REAP_OK;
  refused = false;
  return reap_error(REAP_ERR_RESOURCE, "out of memory for a JSON document; use more ranks on more nodes");
}

void json_add(cJSON *object, const char *name, cJSON *item) {
  if (!cJSON_AddItemToObject(object, name, item)) cJSON_Delete(item);
}

void json_append(cJSON *array, cJSON *item) {
  if (!cJSON_AddItemToArray(array, item)) cJSON_Delete(item);
}

void json_add_number(cJSON *object, const char *name, double value) {
  if (isfinite(value))
    cJSON_AddNumberToObject(object, name, value);
  else
    cJSON_AddNullToObject(object, name);
}

void json_add_numbers(cJSON *object, const json_number *numbers) {
  for (; numbers->name; numbers++) json_add_number(object, numbers->name, numbers->value);
}

/* The character at `from`, of JSON as cJSON writes it, in valid form: its bytes to `to`, at most six for each of its
 * own. Returns the bytes read. */
static size_t convert_character(const char *from, char **to) {
  const size_t length = reap_text_character(from);
  if (from[0] == '\\') { /* an escape of JSON: two bytes belong together */
    const bool byte_like =
        from[1] == '\\' && from[2] == 'x' && isxdigit((unsigned char)from[3]) && isxdigit((unsigned char)from[4]);
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

static int convert(const char *raw, char **text) {
  REAP_TRY(reap_alloc(text, 6 * (int64_t)strlen(raw) + 1, 1));
  char *to = *text;
  for (const char *from = raw; *from;) from += convert_character(from, &to);
  *to = '\0';
  return REAP_OK;
}

int json_print(const cJSON *document, bool indented, char **text) {
  char *raw = indented ? cJSON_Print(document) : cJSON_PrintUnformatted(document);
  int status = json_status();
  if (status == REAP_OK)
    status = raw ? convert(raw, text) : reap_error(REAP_ERR_INTERNAL, "a JSON document cannot be printed");
  cJSON_free(raw); /* works with either allocator: not all callers have called json_set_up() */
  return status;
}
