/* What a file that reap has changed says of itself: its maker, and notes under names (metadata_props). */
#include <string.h>

#include "base/text.h"
#include "onnx_message.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/memory.h"

static const char MADE_FROM[] = "reap.made_from";

static int put(char **field, const char *text) {
  char *copy = NULL;
  REAP_TRY(reap_strdup(&copy, text));
  reap_free(field);
  *field = copy;
  return REAP_OK;
}

int reap_source_note(reap_source *source, const char *key, const char *value) {
  ReapOnnx__ModelProto *model = source->model;
  if (!source->edited) return REAP_OK;
  for (size_t i = 0; i < model->n_metadata_props; i++)
    if (strcmp(reap_onnx_text(model->metadata_props[i]->key), key) == 0)
      return put(&model->metadata_props[i]->value, value);
  return reap_onnx_append_entry(&model->metadata_props, &model->n_metadata_props, key, value);
}

/* Notes of an earlier run of reap would be of another network. */
static void drop_notes(ReapOnnx__ModelProto *model) {
  size_t kept = 0;
  for (size_t i = 0; i < model->n_metadata_props; i++) {
    ReapOnnx__StringStringEntryProto *entry = model->metadata_props[i];
    const char *key = reap_onnx_text(entry->key);
    if (strncmp(key, "reap.", 5) == 0 && strcmp(key, MADE_FROM) != 0)
      reap_onnx_free_part(&entry->base);
    else
      model->metadata_props[kept++] = entry;
  }
  model->n_metadata_props = kept;
}

int reap_source_note_maker(reap_source *source) {
  ReapOnnx__ModelProto *model = source->model;
  const char *name = reap_onnx_text(model->producer_name), *version = reap_onnx_text(model->producer_version);
  char *before = NULL, *escaped = NULL;
  drop_notes(model);
  REAP_TRY(reap_source_note(source, "reap", REAP_VERSION));
  if (strcmp(name, "reap") != 0 && *name) {
    REAP_TRY(reap_format(&before, "%s%s%s", name, *version ? " " : "", version));
    int status = reap_text_escaped(before, &escaped); /* it may be no UTF-8 */
    if (status == REAP_OK) status = reap_source_note(source, MADE_FROM, escaped);
    reap_free(&escaped);
    reap_free(&before);
    REAP_TRY(status);
  }
  REAP_TRY(put(&model->producer_name, "reap"));
  return put(&model->producer_version, REAP_VERSION);
}
