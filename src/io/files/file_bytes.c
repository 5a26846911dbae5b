/* Whole transfers; see file_bytes.h. */
#include "file_bytes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The system moves less than 2 GB at a time. */
static const size_t MOST = (size_t)1 << 30;

int reap_bytes_read(int descriptor, void *out, size_t bytes, int64_t at) {
  unsigned char *to = out;
  while (bytes > 0) {
    const ssize_t n = pread(descriptor, to, bytes < MOST ? bytes : MOST, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) {
      memset(to, 0, bytes);
      return 0;
    }
    to += n;
    at += n;
    bytes -= (size_t)n;
  }
  return 0;
}

int reap_bytes_write(int descriptor, const void *from, size_t bytes, int64_t at) {
  const unsigned char *next = from;
  while (bytes > 0) {
    const ssize_t n = pwrite(descriptor, next, bytes < MOST ? bytes : MOST, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : ENOSPC;
    next += n;
    at += n;
    bytes -= (size_t)n;
  }
  return 0;
}
