/* Private to src/io: a file's heaps of variable-length data ("global heap collections" of the HDF5 format), read
 * without the library, every number checked. Local calls. */
#ifndef REAP_IO_HDF5_HDF5_HEAP_H
#define REAP_IO_HDF5_HDF5_HEAP_H

#include <stdint.h>

/* Where an element lies: HDF5's disk form of variable-length data, decoded. */
typedef struct heap_reference {
  uint32_t length; /* 0: nothing is stored */
  uint64_t heap;   /* byte of the file at which the collection begins */
  uint32_t object; /* its number in the collection */
} heap_reference;

/* The bytes of a reference in an HDF5 file with addresses of 8 bytes. */
enum { HEAP_REFERENCE_BYTES = 16 };

heap_reference reap_heap_reference_decode(const unsigned char bytes[HEAP_REFERENCE_BYTES]);

/* The collection read last, to be zeroed before use and cleared after it. */
typedef struct heap_cache {
  uint64_t address, size;
  unsigned char *bytes;
} heap_cache;

/* The data as a string that ends with a zero, owned by the caller. REAP_ERR_INPUT with a message that names neither
 * file nor attribute if anything is wrong with the heap. */
int reap_heap_read_string(int descriptor, heap_reference reference, heap_cache *cache, char **out);

void reap_heap_cache_clear(heap_cache *cache);

#endif
