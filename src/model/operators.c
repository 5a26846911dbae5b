/* Names, numbers of inputs and channel rules of operators.def. */
#include "operators.h"

#include <stddef.h>
#include <string.h>

/* The kernel column is text here; `none` means that there is no kernel. */
#define IS_NONE(text) \
  (sizeof(text) == sizeof "none" && (text)[0] == 'n' && (text)[1] == 'o' && (text)[2] == 'n' && (text)[3] == 'e')
#define REAP_OPERATOR(name, min, max, shape, fold, kernel, layout, channels) \
  {#name, REAP_OP_##name, min, max, REAP_CHANNELS_##channels, !IS_NONE(#kernel)},

static const reap_operator table[] = {
#include "operators.def"
};

#undef REAP_OPERATOR
#undef IS_NONE

const reap_operator *reap_operator_find(const char *name) {
  for (int i = 0; i < REAP_OPERATORS; i++)
    if (strcmp(table[i].name, name) == 0) return &table[i];
  return NULL;
}

const reap_operator *reap_operator_at(reap_operator_id id) { return &table[id]; }
