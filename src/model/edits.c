#include "edits.h"

#include "reap/error.h"
#include "reap/memory.h"
#include "tensor.h"

int reap_edits_add(reap_edits *edits, reap_edit_kind kind, int node, int slot, reap_tensor *tensor) {
  if (edits->count == edits->capacity) {
    int capacity = edits->capacity ? 2 * edits->capacity : 16;
    int status = reap_grow(&edits->list, edits->count, capacity, sizeof *edits->list);
    if (status != REAP_OK) {
      reap_tensor_destroy(&tensor);
      return status;
    }
    edits->capacity = capacity;
  }
  edits->list[edits->count++] = (reap_edit){kind, node, slot, tensor};
  return REAP_OK;
}

void reap_edits_clear(reap_edits *edits) {
  for (int i = 0; i < edits->count; i++) reap_tensor_destroy(&edits->list[i].tensor);
  reap_free(&edits->list);
  edits->count = edits->capacity = 0;
}
