/* Names, numbers of inputs and channel rules of operators.def. */
#include "operators.h"

#include <stddef.h>
#include <string.h>

/* The kernel column is text here; `none` means that there is no kernel. */
#define IS_NONE(text) \
  (sizeof(text) == sizeof "none" && (text)[0] == 'n' && (text)[1] == 'o' && (text)[2] == 'n' && (text)[3] == 'e')
#define REAP_OPERATOR(name, min, max, shape, fold, kernel, layout, channels) \
  {#name, min, max, REAP_CHANNELS_##channels, !IS_NONE(#kernel)},

static const reap_operator table[] = {
#include "operators.def"
};

#undef REAP_OPERATOR
#undef IS_NONE

const reap_operator *reap_operator_find(const char *name) {
  for (int i = 0; i < reap_operator_count(); i++)
    if (strcmp(table[i].name, name) == 0) return &table[i];
  return NULL;
}

bool reap_operator_adds(const reap_operator *op) {
  return strcmp(op->name, "Add") == 0 || strcmp(op->name, "Sum") == 0;
}

int reap_operator_index(const reap_operator *op) { return (int)(op - table); }
int reap_operator_count(void) { return (int)(sizeof table / sizeof table[0]); }
const reap_operator *reap_operator_at(int index) { return &table[index]; }
