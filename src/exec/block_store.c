/* Which blocks stay in memory; see block_store.h.
 *
 * Walks are cyclic, so the block whose next use is farthest away is the one just behind the present index: that is the
 * one to give up, those first that need not be written. For as many blocks as fit that leaves the rest of a walk in
 * memory, where the least recently used rule would miss every time. Victims are found by looking at all blocks in
 * memory: some thousands at most, against a transfer of megabytes.
 *
 * A few buffers given back wait for the next blocks of their size: fresh memory would cost as much in page faults as a
 * layer's computation. They count, and go first when room is needed.
 */
#include "block_store.h"

#include "base/timer.h"
#include "io/scratch_file.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

enum { SPARES = 8 };

typedef struct spare {
  float *data;
  int64_t count;
} spare;

struct block_store {
  int64_t owners, n_indices;
  int64_t limit, used; /* bytes; limit 0: none */
  int64_t index, visit;
  value_block *resident; /* list */
  spare spares[SPARES];
  const char *folder;
  reap_scratch_file *file; /* from the first block written on */
  bool warned;
  block_store_facts facts;
};

int reap_block_store_create(int64_t n_indices, block_store **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  (*out)->owners = 1;
  (*out)->n_indices = n_indices > 0 ? n_indices : 1;
  return REAP_OK;
}

block_store *reap_block_store_share(block_store *store) {
  store->owners++;
  return store;
}

void reap_block_store_release(block_store **store) {
  block_store *s = *store;
  *store = NULL;
  if (!s || --s->owners > 0) return;
  reap_block_store_trim(s);
  reap_scratch_file_destroy(&s->file);
  reap_free(&s);
}

void reap_block_store_limit(block_store *s, int64_t bytes, const char *folder) {
  s->limit = bytes;
  s->folder = folder;
}

bool reap_block_store_fits(const block_store *s, int64_t bytes) { return s->limit == 0 || s->used + bytes <= s->limit; }

block_store_facts *reap_block_store_get_facts(block_store *s) { return &s->facts; }

static int64_t bytes_of(int64_t count) { return count * (int64_t)sizeof(float); }

static void note(block_store *s, int64_t bytes) {
  s->used += bytes;
  if (s->used > s->facts.peak) s->facts.peak = s->used;
}

void reap_block_store_visit(block_store *s, int64_t index, bool anew) {
  if (anew || index != s->index) s->visit++;
  s->index = index;
}

/* ---- memory */

static void free_spare(block_store *s, spare *spared) {
  note(s, -bytes_of(spared->count));
  reap_free(&spared->data);
}

void reap_block_store_trim(block_store *s) {
  for (int i = 0; i < SPARES; i++)
    if (s->spares[i].data) free_spare(s, &s->spares[i]);
}

static void link_block(block_store *s, value_block *b) {
  b->previous = NULL;
  b->next = s->resident;
  if (s->resident) s->resident->previous = b;
  s->resident = b;
}

/* Takes the block's memory away, for the next one of its size. */
static void give_up(block_store *s, value_block *b) {
  if (!b->data) return;
  if (b->previous) b->previous->next = b->next;
  if (b->next) b->next->previous = b->previous;
  if (s->resident == b) s->resident = b->next;
  spare mine = {b->data, b->count}, *place = NULL;
  b->data = NULL;
  for (int i = 0; i < SPARES && !place; i++)
    if (!s->spares[i].data) place = &s->spares[i];
  if (place)
    *place = mine;
  else
    free_spare(s, &mine);
}

static float *take_spare(block_store *s, int64_t count) {
  for (int i = 0; i < SPARES; i++) {
    float *data = s->spares[i].data;
    if (!data || s->spares[i].count != count) continue;
    s->spares[i].data = NULL;
    return data;
  }
  return NULL;
}

static bool drop_a_spare(block_store *s) {
  for (int i = 0; i < SPARES; i++)
    if (s->spares[i].data) {
      free_spare(s, &s->spares[i]);
      return true;
    }
  return false;
}

static bool is_clean(const value_block *b) { return b->slot >= 0 || b->maker; }

/* Steps of the walk until the block's index comes up again. */
static int64_t distance(const block_store *s, const value_block *b) {
  return (b->index - s->index + s->n_indices) % s->n_indices;
}

static value_block *victim(const block_store *s) {
  value_block *best = NULL;
  for (value_block *b = s->resident; b; b = b->next) {
    if (b->touched == s->visit) continue;
    if (!best || (is_clean(b) && !is_clean(best)) ||
        (is_clean(b) == is_clean(best) && distance(s, b) > distance(s, best)))
      best = b;
  }
  return best;
}

static int write_out(block_store *s, value_block *b) {
  const double start = reap_seconds();
  if (!s->file) REAP_TRY(reap_scratch_file_create(s->folder, &s->file));
  REAP_TRY(reap_scratch_file_write(s->file, b->count, b->data, &b->slot));
  s->facts.written += bytes_of(b->count);
  s->facts.seconds += reap_seconds() - start;
  return REAP_OK;
}

/* Less cannot be done with: going on beats losing the work so far. */
static void warn(block_store *s, int64_t bytes) {
  if (s->warned) return;
  s->warned = true;
  reap_log(REAP_LOG_WARNING,
           "a memory limit of %.1f MB is less than the values of one block of images take; going on with %.1f MB",
           (double)s->limit / 1e6, (double)(s->used + bytes) / 1e6);
}

/* Makes room for `bytes` more; spares of `count` floats may be left, to be taken as they are. */
static int make_room(block_store *s, int64_t bytes, int64_t count) {
  while (!reap_block_store_fits(s, bytes)) {
    for (int i = 0; i < SPARES; i++)
      if (s->spares[i].data && s->spares[i].count == count && reap_block_store_fits(s, 0)) return REAP_OK;
    if (drop_a_spare(s)) continue;
    value_block *b = victim(s);
    if (!b) {
      warn(s, bytes);
      return REAP_OK;
    }
    if (!is_clean(b)) REAP_TRY(write_out(s, b));
    give_up(s, b);
  }
  return REAP_OK;
}

int reap_block_store_charge(block_store *s, int64_t bytes) {
  if (bytes > 0) REAP_TRY(make_room(s, bytes, -1));
  note(s, bytes);
  return REAP_OK;
}

/* ---- blocks */

int reap_block_create(int64_t index, int64_t count, value_block **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  **out = (value_block){.references = 1, .index = index, .count = count, .slot = -1};
  return REAP_OK;
}

void reap_block_drop(block_store *s, value_block **block) {
  value_block *b = *block;
  *block = NULL;
  if (!b || --b->references > 0) return;
  give_up(s, b);
  if (b->slot >= 0) reap_scratch_file_drop(s->file, b->slot);
  if (b->maker) b->maker->forget(b->maker, b);
  reap_free(&b);
}

int reap_block_allocate(block_store *s, value_block *b) {
  b->touched = s->visit;
  if (b->data) return REAP_OK;
  b->data = take_spare(s, b->count);
  if (!b->data) {
    REAP_TRY(make_room(s, bytes_of(b->count), b->count));
    b->data = take_spare(s, b->count);
  }
  if (!b->data) {
    REAP_TRY(reap_alloc(&b->data, b->count, sizeof *b->data));
    note(s, bytes_of(b->count));
  }
  link_block(s, b);
  return REAP_OK;
}

static int read_back(block_store *s, value_block *b) {
  REAP_TRY(reap_block_allocate(s, b));
  const double start = reap_seconds();
  REAP_TRY(reap_scratch_file_read(s->file, b->slot, b->count, b->data));
  s->facts.read += bytes_of(b->count);
  s->facts.seconds += reap_seconds() - start;
  return REAP_OK;
}

int reap_block_fetch(block_store *s, value_block *b, float **data) {
  reap_block_store_visit(s, b->index, false);
  b->touched = s->visit;
  if (!b->data) {
    if (b->slot < 0 && !b->maker) return reap_error(REAP_ERR_INTERNAL, "a block of values was lost");
    int status = b->slot >= 0 ? read_back(s, b) : b->maker->make(b->maker, b);
    if (status != REAP_OK) give_up(s, b); /* what it holds is not its values */
    REAP_TRY(status);
  }
  *data = b->data;
  return REAP_OK;
}

int reap_block_keep(block_store *s, value_block *b) {
  float *data;
  REAP_TRY(reap_block_fetch(s, b, &data));
  if (b->maker) b->maker->forget(b->maker, b);
  b->maker = NULL;
  return REAP_OK;
}
