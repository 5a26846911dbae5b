/* Private to src/io: bytes to and from a descriptor at a place, all of them or an error. Local calls. */
#ifndef REAP_IO_FILES_FILE_BYTES_H
#define REAP_IO_FILES_FILE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* 0, or the errno of the call that failed. What lies behind the end of the file reads as zero. */
int reap_bytes_read(int descriptor, void *out, size_t bytes, int64_t at);
int reap_bytes_write(int descriptor, const void *from, size_t bytes, int64_t at);

#endif
