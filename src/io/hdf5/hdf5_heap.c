/* See hdf5_heap.h. A collection is a header (signature, version, size) and objects one behind the other: number, count
 * of references, size, data to the next multiple of 8 bytes. Number 0 is the free space at the end. */
#include "hdf5_heap.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "io/files/file_bytes.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { HEADER = 16, OBJECT_HEADER = 16, LEAST_SIZE = 4096 };

/* HDF5 makes collections of 4 kB, or of the size of a single longer object. */
static const uint64_t MOST_SIZE = (uint64_t)64 << 20;

static uint64_t little_endian(const unsigned char *bytes, int count) {
  uint64_t value = 0;
  for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
  return value;
}

heap_reference reap_heap_reference_decode(const unsigned char bytes[HEAP_REFERENCE_BYTES]) {
  return (heap_reference){(uint32_t)little_endian(bytes, 4), little_endian(bytes + 4, 8),
                          (uint32_t)little_endian(bytes + 12, 4)};
}

static int damaged(uint64_t address, const char *what) {
  return reap_error(REAP_ERR_INPUT, "the heap of strings at byte %llu is damaged: %s", (unsigned long long)address,
                    what);
}

static int load(int descriptor, uint64_t address, heap_cache *cache) {
  unsigned char header[HEADER];
  struct stat about;
  if (cache->bytes && cache->address == address) return REAP_OK;
  reap_heap_cache_clear(cache);
  if (fstat(descriptor, &about) != 0) return damaged(address, "the file's size is not known");
  const uint64_t end = (uint64_t)about.st_size;
  if (address >= end || end - address < HEADER) return damaged(address, "it lies outside the file");
  if (reap_bytes_read(descriptor, header, sizeof header, (int64_t)address) != 0)
    return damaged(address, "it cannot be read");
  const uint64_t size = little_endian(header + 8, 8);
  if (memcmp(header, "GCOL\1", 5) != 0) return damaged(address, "it does not begin as one");
  if (size < LEAST_SIZE || size > MOST_SIZE || size > end - address) return damaged(address, "its size makes no sense");
  REAP_TRY(reap_alloc(&cache->bytes, (int64_t)size, 1));
  cache->address = address;
  cache->size = size;
  if (reap_bytes_read(descriptor, cache->bytes, (size_t)size, (int64_t)address) == 0) return REAP_OK;
  reap_heap_cache_clear(cache);
  return damaged(address, "it cannot be read");
}

/* Where an object's data begin, and how many bytes they are. */
static int find(const heap_cache *c, uint32_t number, uint64_t *begin, uint64_t *size) {
  for (uint64_t at = HEADER; c->size - at >= OBJECT_HEADER;) {
    const uint64_t found = little_endian(c->bytes + at, 2), bytes = little_endian(c->bytes + at + 8, 8);
    if (found == 0) break;
    const uint64_t room = c->size - at - OBJECT_HEADER;
    if (bytes > room) return damaged(c->address, "an object in it ends outside");
    if (found == number) {
      *begin = at + OBJECT_HEADER;
      *size = bytes;
      return REAP_OK;
    }
    const uint64_t padded = (bytes + 7) / 8 * 8;
    at += OBJECT_HEADER + (padded < room ? padded : room);
  }
  return damaged(c->address, "it lacks the object");
}

int reap_heap_read_string(int descriptor, heap_reference reference, heap_cache *cache, char **out) {
  uint64_t begin = 0, size = 0;
  if (reference.length == 0) return reap_strdup(out, "");
  REAP_TRY(load(descriptor, reference.heap, cache));
  REAP_TRY(find(cache, reference.object, &begin, &size));
  if (size < reference.length) return damaged(cache->address, "the object is too short");
  return reap_strndup(out, (const char *)cache->bytes + begin, reference.length);
}

void reap_heap_cache_clear(heap_cache *cache) {
  reap_free(&cache->bytes);
  *cache = (heap_cache){0, 0, NULL};
}
