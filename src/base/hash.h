/* SHA-256 of files and memory, so that results can name their inputs (same as sha256sum). Local. */
#ifndef REAP_BASE_HASH_H
#define REAP_BASE_HASH_H

#include <stddef.h>

enum { REAP_HASH_LENGTH = 65 }; /* 64 hexadecimal digits and the closing zero */

typedef struct reap_hash reap_hash;

/* Incremental: create, add any number of times, finish (which destroys the handle). */
int reap_hash_create(reap_hash **out);
int reap_hash_add(reap_hash *hash, const void *data, size_t bytes);
int reap_hash_finish(reap_hash **hash, char digest[REAP_HASH_LENGTH]);
void reap_hash_destroy(reap_hash **hash);

/* REAP_ERR_INPUT if the file cannot be read. */
int reap_hash_file(const char *path, char digest[REAP_HASH_LENGTH]);

#endif
