/* What pruning changes in the user's file: a list of tensors to be put into inputs of the file's own nodes, and of
 * attributes. Local. */
#ifndef REAP_MODEL_EDITS_H
#define REAP_MODEL_EDITS_H

#include "reap/graph.h"

typedef enum reap_edit_kind {
  REAP_EDIT_INPUT, /* input `slot` of file node `node` becomes this constant (slots in between that are absent stay "")
                    */
  REAP_EDIT_ADD,   /* an Add of this constant is put behind output 0 of file node `node` */
  REAP_EDIT_RESHAPE,  /* file node `node` becomes a Reshape of its input 0 to this shape */
  REAP_EDIT_ATTRIBUTE /* the integer (of a tensor of rank 0) or the integers of attribute `name` of file node `node`,
                         which may be new; NULL: the attribute goes */
} reap_edit_kind;

typedef struct reap_edit {
  reap_edit_kind kind;
  int node, slot;
  const char *name;    /* borrowed; of an attribute, else NULL */
  reap_tensor *tensor; /* owned */
} reap_edit;

typedef struct reap_edits {
  int count, capacity;
  reap_edit *list;
} reap_edits;

/* Appends, taking the tensor over (also on failure). */
int reap_edits_add(reap_edits *edits, reap_edit_kind kind, int node, int slot, reap_tensor *tensor);

/* The same for an attribute; `name` outlives the list. */
int reap_edits_add_attribute(reap_edits *edits, int node, const char *name, reap_tensor *tensor);

/* Frees the list's contents. */
void reap_edits_clear(reap_edits *edits);

#endif
