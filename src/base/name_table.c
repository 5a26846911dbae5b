/* A balanced tree of the C library: names chosen to collide in a hash table cost no more than others. */
#include "name_table.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

enum { CHUNK = 64 };

typedef struct named {
  const char *name;
  int64_t value;
} named;

/* Entries are addressed by the tree: they come in chunks that never move. */
typedef struct chunk {
  struct chunk *next;
  int used;
  named entries[CHUNK];
} chunk;

struct reap_name_table {
  void *root; /* of a tree of entries */
  chunk *chunks;
};

static int compare(const void *a, const void *b) { return strcmp(((const named *)a)->name, ((const named *)b)->name); }

int reap_name_table_create(reap_name_table **out) { return reap_calloc(out, 1, sizeof **out); }

/* Of the root with itself: names may be gone by now. */
static int no_order(const void *a, const void *b) { return a != b; }

void reap_name_table_destroy(reap_name_table **table) {
  if (!*table) return;
  while ((*table)->root) { /* a node of the tree starts with the address of its named */
    const named *first = *(named **)(*table)->root;
    tdelete(first, &(*table)->root, no_order);
  }
  for (chunk *c = (*table)->chunks, *next; c; c = next) {
    next = c->next;
    reap_free(&c);
  }
  reap_free(table);
}

static named *find(const reap_name_table *table, const char *name) {
  const named key = {name, 0};
  named *const *node = table ? tfind(&key, &table->root, compare) : NULL;
  return node ? *node : NULL;
}

static int new_entry(reap_name_table *table, named **out) {
  if (!table->chunks || table->chunks->used == CHUNK) {
    chunk *fresh = NULL;
    REAP_TRY(reap_alloc(&fresh, 1, sizeof *fresh));
    fresh->next = table->chunks;
    fresh->used = 0;
    table->chunks = fresh;
  }
  *out = &table->chunks->entries[table->chunks->used++];
  return REAP_OK;
}

int reap_name_table_set(reap_name_table *table, const char *name, int64_t value) {
  named *e = find(table, name);
  if (e) {
    e->value = value;
    return REAP_OK;
  }
  REAP_TRY(new_entry(table, &e));
  *e = (named){name, value};
  if (tsearch(e, &table->root, compare)) return REAP_OK;
  table->chunks->used--;
  return reap_error(REAP_ERR_RESOURCE, "out of memory: a table of names cannot grow");
}

int64_t reap_name_table_find(const reap_name_table *table, const char *name) {
  const named *e = find(table, name);
  return e ? e->value : -1;
}
