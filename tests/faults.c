#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

enum { MOST_FRAMES = 48 };

static atomic_bool armed, fired;
static void *frames[MOST_FRAMES];
static int n_frames;
static atomic_llong calls, target;

void faults_arm(int64_t k) {
  atomic_store(&calls, 0);
  atomic_store(&target, k);
  atomic_store(&fired, false);
  atomic_store(&armed, true);
}

int64_t faults_disarm(void) {
  atomic_store(&armed, false);
  return atomic_load(&calls);
}

bool faults_fired(void) { return atomic_load(&fired); }

void faults_show(int descriptor) {
  if (faults_fired()) backtrace_symbols_fd(frames, n_frames, descriptor);
}

static bool fails(void) {
  if (!atomic_load(&armed) || atomic_fetch_add(&calls, 1) + 1 != atomic_load(&target)) return false;
  n_frames = backtrace(frames, MOST_FRAMES);
  atomic_store(&fired, true);
  errno = ENOMEM;
  return true;
}

/* WRAP(RESULT, NAME, (PARAMETERS), (ARGUMENTS)): NAME, but for the call that is to fail. */
#define WRAP(result, name, parameters, arguments) \
  result __real_##name parameters;                \
  result __wrap_##name parameters;                \
  result __wrap_##name parameters { return fails() ? NULL : __real_##name arguments; }

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t count, size_t size), (count, size))
WRAP(void *, realloc, (void *old, size_t size), (old, size))
WRAP(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WRAP(char *, strdup, (const char *text), (text))
WRAP(char *, strndup, (const char *text, size_t size), (text, size))
WRAP(char *, realpath, (const char *path, char *out), (path, out))
WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode))
WRAP(FILE *, fdopen, (int descriptor, const char *mode), (descriptor, mode))
WRAP(DIR *, opendir, (const char *path), (path))
WRAP(DIR *, fdopendir, (int descriptor), (descriptor))
WRAP(void *, EVP_MD_CTX_new, (void), ())
