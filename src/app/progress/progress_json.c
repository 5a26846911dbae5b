#include "progress_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/json/json.h"
#include "reap/error.h"

char *progress_json_inner(const json_string *strings) {
  cJSON *object = cJSON_CreateObject();
  char *text = NULL;
  for (; strings->name; strings++)
    if (strings->text[0]) cJSON_AddStringToObject(object, strings->name, strings->text);
  if (json_print(object, false, &text) == REAP_OK) {
    const size_t length = strlen(text) - 2;
    memmove(text, text + 1, length);
    text[length] = '\0';
  }
  cJSON_Delete(object);
  return text;
}

void progress_json_print(const char *event, const progress_figures *f, const char *inner) {
  char figures[128] = "", left[32] = "null";
  if (f && !isnan(f->left)) snprintf(left, sizeof left, "%.3f", f->left);
  if (f)
    snprintf(figures, sizeof figures, ",\"share\":%.5f,\"seconds\":%.3f,\"seconds_left\":%s", f->share, f->seconds,
             left);
  fprintf(stderr, "{\"event\":\"%s\"%s%s%s}\n", event, figures, inner && inner[0] ? "," : "", inner ? inner : "");
}
