#include "edits.h"

#include "reap/error.h"
#include "reap/memory.h"
#include "tensor.h"

static int append(reap_edits *edits, reap_edit edit) {
  if (edits->count == edits->capacity) {
    int capacity = edits->capacity ? 2 * edits->capacity : 16;
    int status = reap_grow(&edits->list, edits->count, capacity, sizeof *edits->list);
    if (status != REAP_OK) {
      reap_tensor_destroy(&edit.tensor);
      return status;
    }
    edits->capacity = capacity;
  }
  edits->list[edits->count++] = edit;
  return REAP_OK;
}

int reap_edits_add(reap_edits *edits, reap_edit_kind kind, int node, int slot, reap_tensor *tensor) {
  return append(edits, (reap_edit){kind, node, slot, NULL, tensor});
}

int reap_edits_add_attribute(reap_edits *edits, int node, const char *name, reap_tensor *tensor) {
  return append(edits, (reap_edit){REAP_EDIT_ATTRIBUTE, node, 0, name, tensor});
}

void reap_edits_clear(reap_edits *edits) {
  for (int i = 0; i < edits->count; i++) reap_tensor_destroy(&edits->list[i].tensor);
  reap_free(&edits->list);
  edits->count = edits->capacity = 0;
}
