#include "reap/memory.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "reap/error.h"

enum { ALIGNMENT = 64, SMALL_ALIGNMENT = 16 };

/* Kept right in front of every block. A block shorter than a cache line is aligned for any type and no more: names and
 * lists of a large network are millions of such blocks. */
typedef union header {
  struct {
    size_t bytes;
    atomic_int others; /* owners besides the first */
  } of;
  char room[SMALL_ALIGNMENT];
} header;

/* Bytes from the start of what the system gives to the block. */
static size_t lead(size_t bytes) { return bytes < ALIGNMENT ? SMALL_ALIGNMENT : ALIGNMENT; }

static header *header_of(void *block) { return (header *)(void *)((char *)block - sizeof(header)); }

_Static_assert(sizeof(header) == SMALL_ALIGNMENT, "a short block is aligned");

static atomic_llong live_blocks, live_bytes;

static int byte_count(int64_t count, size_t size, size_t *bytes) {
  if (count < 0) return reap_error(REAP_ERR_INTERNAL, "negative allocation of %lld elements", (long long)count);
  if (__builtin_mul_overflow((size_t)count, size, bytes) || *bytes > SIZE_MAX / 2)
    return reap_error(REAP_ERR_RESOURCE, "a block of %lld x %zu bytes cannot be addressed", (long long)count, size);
  return REAP_OK;
}

int reap_alloc(void *out, int64_t count, size_t size) {
  size_t bytes = 0;
  REAP_TRY(byte_count(count, size, &bytes));
  size_t padded = (bytes + 2 * (size_t)ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  char *base = bytes < ALIGNMENT ? malloc(lead(bytes) + bytes) : aligned_alloc(ALIGNMENT, padded);
  if (!base)
    return reap_error(REAP_ERR_RESOURCE,
                      "out of memory: %.1f MB more were needed; use more ranks on more nodes, or fewer images",
                      (double)bytes / 1e6);
  void *block = base + lead(bytes);
  header_of(block)->of.bytes = bytes;
  atomic_init(&header_of(block)->of.others, 0);
  memcpy(out, &block, sizeof block);
  atomic_fetch_add(&live_blocks, 1);
  atomic_fetch_add(&live_bytes, (long long)bytes);
  return REAP_OK;
}

int reap_calloc(void *out, int64_t count, size_t size) {
  REAP_TRY(reap_alloc(out, count, size));
  void *block;
  memcpy(&block, out, sizeof block);
  memset(block, 0, (size_t)count * size);
  return REAP_OK;
}

int reap_grow(void *out, int64_t old_count, int64_t count, size_t size) {
  void *old, *fresh = NULL;
  memcpy(&old, out, sizeof old);
  REAP_TRY(reap_alloc(&fresh, count, size));
  int64_t kept = old_count < count ? old_count : count;
  if (old && kept > 0) memcpy(fresh, old, (size_t)kept * size);
  reap_free(out);
  memcpy(out, &fresh, sizeof fresh);
  return REAP_OK;
}

void reap_free(void *address) {
  void *block;
  memcpy(&block, address, sizeof block);
  if (!block) return;
  const size_t bytes = header_of(block)->of.bytes;
  if (atomic_fetch_sub(&header_of(block)->of.others, 1) == 0) {
    atomic_fetch_sub(&live_bytes, (long long)bytes);
    atomic_fetch_sub(&live_blocks, 1);
    free((char *)block - lead(bytes));
  }
  block = NULL;
  memcpy(address, &block, sizeof block);
}

void *reap_share(void *block) {
  if (block) atomic_fetch_add(&header_of(block)->of.others, 1);
  return block;
}

int reap_own(void *address, int64_t count, size_t size) {
  void *block, *copy = NULL;
  memcpy(&block, address, sizeof block);
  if (!block || atomic_load(&header_of(block)->of.others) == 0) return REAP_OK;
  REAP_TRY(reap_alloc(&copy, count, size));
  memcpy(copy, block, (size_t)count * size);
  reap_free(address);
  memcpy(address, &copy, sizeof copy);
  return REAP_OK;
}

int reap_strndup(char **out, const char *text, size_t length) {
  REAP_TRY(reap_alloc(out, (int64_t)length + 1, 1));
  memcpy(*out, text, length);
  (*out)[length] = '\0';
  return REAP_OK;
}

int reap_strdup(char **out, const char *text) {
  if (!text) {
    *out = NULL;
    return REAP_OK;
  }
  return reap_strndup(out, text, strlen(text));
}

int reap_format(char **out, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  int status = n < 0 ? reap_error(REAP_ERR_INTERNAL, "bad format \"%s\"", format) : reap_alloc(out, (int64_t)n + 1, 1);
  if (status == REAP_OK) vsnprintf(*out, (size_t)n + 1, format, again);
  va_end(again);
  return status;
}

int64_t reap_memory_live_blocks(void) { return atomic_load(&live_blocks); }
int64_t reap_memory_live_bytes(void) { return atomic_load(&live_bytes); }

int64_t reap_memory_peak_resident(void) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return (int64_t)usage.ru_maxrss * 1024; /* Linux counts in kibibytes */
}

/* The beginning of a file of the system's, "" if there is none. Without stdio, which takes memory: these figures are
 * asked for where there may be none left. */
static void read_beginning(const char *path, char *text, size_t size) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t length = file < 0 ? 0 : read(file, text, size - 1);
  text[length < 0 ? 0 : length] = '\0';
  if (file >= 0) close(file);
}

int64_t reap_memory_resident(void) {
  char text[256];
  long long all = 0, resident = 0;
  read_beginning("/proc/self/statm", text, sizeof text);
  if (sscanf(text, "%lld %lld", &all, &resident) != 2) resident = 0;
  return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

int64_t reap_memory_available(void) {
  static const char key[] = "MemAvailable:";
  char text[1024];
  long long kilobytes = 0;
  read_beginning("/proc/meminfo", text, sizeof text);
  const char *line = strstr(text, key);
  if (!line || sscanf(line + sizeof key - 1, "%lld kB", &kilobytes) != 1) return 0;
  return (int64_t)kilobytes * 1024;
}

int reap_memory_check(const char *what, int64_t bytes) {
  void *room = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room != MAP_FAILED) {
    munmap(room, (size_t)bytes);
    return REAP_OK;
  }
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    return reap_error(
        REAP_ERR_RESOURCE,
        "out of memory: %s needs %.0f MB more, and a process may have no more than %.0f MB (ulimit -v); raise that",
        what, (double)bytes / 1e6, (double)limit.rlim_cur / 1e6);
  return reap_error(REAP_ERR_RESOURCE,
                    "out of memory: %s needs %.0f MB more; use nodes with more memory, or fewer ranks on each", what,
                    (double)bytes / 1e6);
}

int reap_multiply(int64_t a, int64_t b, int64_t *out) {
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, out))
    return reap_error(REAP_ERR_RESOURCE, "a size of %lld x %lld is out of range", (long long)a, (long long)b);
  return REAP_OK;
}

int reap_product(const int64_t *dims, int n, int64_t *out) {
  int64_t product = 1;
  for (int i = 0; i < n; i++) REAP_TRY(reap_multiply(product, dims[i], &product));
  *out = product;
  return REAP_OK;
}
