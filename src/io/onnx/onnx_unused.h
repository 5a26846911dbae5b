/* Private to src/io: removing what edits have made useless. Local calls. */
#ifndef REAP_IO_ONNX_ONNX_UNUSED_H
#define REAP_IO_ONNX_ONNX_UNUSED_H

#include "onnx_message.h"

/* Strings in blocks from reap_alloc. */
typedef struct reap_name_list {
  char **names;
  size_t count;
} reap_name_list;

int reap_name_list_add(reap_name_list *list, const char *name); /* a copy */
void reap_name_list_clear(reap_name_list *list);

/* Of the tensors in `lost`, each of which has lost a user, removes those without any: initialisers, and nodes whose
 * outputs all are unused, and then what only these have used. What was unused before the edits is not reached and
 * stays. `lost` is used up. */
int reap_onnx_remove_unused(ReapOnnx__GraphProto *graph, reap_name_list *lost);

#endif
