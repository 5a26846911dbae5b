/* Blocks of values, private to src/exec: in memory up to a budget, beyond it in a scratch file or made anew. Local.
 *
 * A block belongs to a block of images (`index`); walks go from index 0 up, again and again. Memory of a block stays
 * where it is until the visit after the one in which it was last fetched: asking for another index begins a new visit.
 * A block may have a maker that can compute or read it again; its memory can then be taken without writing it out.
 */
#ifndef REAP_EXEC_BLOCK_STORE_H
#define REAP_EXEC_BLOCK_STORE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct block_store block_store;
typedef struct value_block value_block;

typedef struct block_maker {
  /* Fills the block's memory, taking it with reap_block_allocate, and if it likes that of others made along with it. */
  int (*make)(struct block_maker *maker, value_block *block);
  /* The block will never be asked for again; the maker goes with its last block. */
  void (*forget)(struct block_maker *maker, const value_block *block);
} block_maker;

struct value_block {
  int64_t references, index, count; /* count: of floats */
  float *data;                      /* NULL while it is not in memory */
  int64_t slot;                     /* in the scratch file, or -1 */
  block_maker *maker;               /* or NULL */
  int64_t touched;                  /* visit in which it was last fetched */
  value_block *previous, *next;     /* list of those in memory */
};

typedef struct block_store_facts {
  int64_t peak;          /* bytes: most that blocks and charges took at a time */
  int64_t written, read; /* bytes to and from the scratch file */
  double seconds;        /* spent with it */
  int64_t recomputed;    /* bytes of what was computed again */
  double recomputed_multiply_adds;
  int64_t images_read;   /* bytes of input blocks read, as float32 */
  double seconds_images; /* spent reading them */
} block_store_facts;

int reap_block_store_create(int64_t n_indices, block_store **out);
block_store *reap_block_store_share(block_store *store);
void reap_block_store_release(
    block_store **store); /* with the last owner it goes, and all its blocks have to be gone */

/* Most bytes that blocks and charges may take, and the folder for what exceeds them (borrowed). */
void reap_block_store_limit(block_store *store, int64_t bytes, const char *folder);
bool reap_block_store_fits(const block_store *store, int64_t bytes); /* so many more, without making room */
int reap_block_store_charge(block_store *store, int64_t bytes);    /* other buffers that count; negative: given back */
block_store_facts *reap_block_store_get_facts(block_store *store); /* makers add to them */

/* Begins a new visit, unless the present one is of the same index and `anew` is false. */
void reap_block_store_visit(block_store *store, int64_t index, bool anew);
/* Gives back memory kept for blocks to come. */
void reap_block_store_trim(block_store *store);

/* A block with one reference and no memory yet. */
int reap_block_create(int64_t index, int64_t count, value_block **out);
void reap_block_drop(block_store *store, value_block **block);
/* Memory for it, contents undefined, if it has none. */
int reap_block_allocate(block_store *store, value_block *block);
/* Brings it back to memory if need be. */
int reap_block_fetch(block_store *store, value_block *block, float **data);
/* In memory, and no longer made anew: from now on it is written out when room is needed. */
int reap_block_keep(block_store *store, value_block *block);

#endif
