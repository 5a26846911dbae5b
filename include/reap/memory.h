/* Checked allocation and checked sizes.
 *
 * Every block of 64 bytes or more is 64-byte aligned (kernels load whole cache
 * lines), shorter ones are aligned for any type. All are counted, so that tests
 * can ask whether everything was given back. All calls are local and thread-safe.
 */
#ifndef REAP_MEMORY_H
#define REAP_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "reap/api.h"

REAP_API_BEGIN

/* Allocates `count` elements of `size` bytes, uninitialised, into the pointer that `out` is the
 * address of; REAP_ERR_RESOURCE (with the size asked for) if there is no memory or the product
 * overflows. A count of 0 gives a valid block of no use; a negative one is an internal error.
 * The caller owns the block and gives it back with reap_free(). */
int reap_alloc(void *out, int64_t count, size_t size);

/* The same, filled with zero bytes. */
int reap_calloc(void *out, int64_t count, size_t size);

/* Grows or shrinks the block that `out` is the address of (or NULL) to `count` elements; contents
 * up to the smaller `old_count` are kept. The old block stays valid on failure. */
int reap_grow(void *out, int64_t old_count, int64_t count, size_t size);

/* Takes the ADDRESS of a pointer, frees what it points to and sets it to NULL. NULL is fine. */
void reap_free(void *address);

/* One more owner of a block of reap_alloc() (NULL is fine), which it returns: every owner gives it back with
 * reap_free(), the last one frees it. Who wants to write to a block that may be shared calls reap_own() first. */
void *reap_share(void *block);

/* Makes the block of `count` elements of `size` bytes that `address` points to the caller's alone: a copy in its place
 * if there are other owners. REAP_ERR_RESOURCE leaves it as it is. */
int reap_own(void *address, int64_t count, size_t size);

/* Copies a string (NULL gives NULL) or `length` bytes of it; the caller owns the copy. */
int reap_strdup(char **out, const char *text);
int reap_strndup(char **out, const char *text, size_t length);

/* printf into a new string that the caller owns. */
int reap_format(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Number of blocks not given back yet, and the bytes in them. */
int64_t reap_memory_live_blocks(void);
int64_t reap_memory_live_bytes(void);

/* Resident set of this process now, in bytes; 0 where the system does not tell. */
int64_t reap_memory_resident(void);

/* Peak resident set of this process so far, in bytes; 0 where the system does not tell. */
int64_t reap_memory_peak_resident(void);

/* Bytes that the system could give to programs now without swapping; 0 where it does not tell. */
int64_t reap_memory_available(void);

/* REAP_ERR_RESOURCE, saying what the limit is, unless the system would map `bytes` more for `what` ("OpenBLAS") now;
 * nothing is kept. For libraries that take memory by themselves and do not live with a refusal. */
int reap_memory_check(const char *what, int64_t bytes);

/* a * b for non-negative counts; REAP_ERR_RESOURCE if it does not fit into int64_t. */
int reap_multiply(int64_t a, int64_t b, int64_t *out);

/* Product of `n` non-negative counts, same error. */
int reap_product(const int64_t *dims, int n, int64_t *out);

REAP_API_END

#endif
