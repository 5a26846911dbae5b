/* A library to be loaded before the program (LD_PRELOAD) that lets one of a rank's MPI calls fail, or hang.
 *
 *   INJECT_RANK     the rank concerned
 *   INJECT_CALL     the call, "MPI_Recv"; without it all that are listed here count
 *   INJECT_AT       which of them, counted from 1; 0: none
 *   INJECT_HANG     set: it does not fail, it never returns
 *   INJECT_COUNT    a file that gets the number of calls when the process ends
 *
 * It fails as MPI's own calls do: the communicator's handler of errors is called, and the code returned.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *wanted, *count_file;
static long at, calls;
static bool counts, hangs;

static const char *first_of(const char *const *names) {
  for (; *names; names++)
    if (getenv(*names)) return getenv(*names);
  return NULL;
}

__attribute__((constructor)) static void begin(void) {
  static const char *const ranks[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", NULL};
  const char *rank = first_of(ranks), *own = getenv("INJECT_RANK"), *number = getenv("INJECT_AT");
  counts = rank && own && strcmp(rank, own) == 0;
  wanted = getenv("INJECT_CALL");
  count_file = getenv("INJECT_COUNT");
  at = number ? atol(number) : 0;
  hangs = getenv("INJECT_HANG") != NULL;
}

__attribute__((destructor)) static void end(void) {
  FILE *f = counts && count_file ? fopen(count_file, "w") : NULL;
  if (!f) return;
  fprintf(f, "%ld\n", calls);
  fclose(f);
}

static bool fails(const char *name) {
  if (!counts || (wanted && strcmp(wanted, name) != 0) || ++calls != at) return false;
  while (hangs) pause();
  return true;
}

static int fail_on(MPI_Comm comm) {
  if (comm != MPI_COMM_NULL) MPI_Comm_call_errhandler(comm, MPI_ERR_OTHER);
  return MPI_ERR_OTHER;
}

/* Both names: the program may have functions of the first name that call the second. */
#define ONE(prefix, name, comm, parameters, ...)                    \
  int prefix##name parameters;                                      \
  int prefix##name parameters {                                     \
    static int(*real) parameters;                                   \
    if (!real) *(void **)(&real) = dlsym(RTLD_NEXT, "PMPI_" #name); \
    return fails("MPI_" #name) ? fail_on(comm) : real(__VA_ARGS__); \
  }
#define WRAP(name, comm, parameters, ...)        \
  ONE(MPI_, name, comm, parameters, __VA_ARGS__) \
  ONE(PMPI_, name, comm, parameters, __VA_ARGS__)

WRAP(Allreduce, c, (const void *a, void *b, int n, MPI_Datatype t, MPI_Op o, MPI_Comm c), a, b, n, t, o, c)
WRAP(Iallreduce, c, (const void *a, void *b, int n, MPI_Datatype t, MPI_Op o, MPI_Comm c, MPI_Request *r), a, b, n, t,
     o, c, r)
WRAP(Ireduce, c, (const void *a, void *b, int n, MPI_Datatype t, MPI_Op o, int root, MPI_Comm c, MPI_Request *r), a, b,
     n, t, o, root, c, r)
WRAP(Bcast, c, (void *a, int n, MPI_Datatype t, int root, MPI_Comm c), a, n, t, root, c)
WRAP(Barrier, c, (MPI_Comm c), c)
WRAP(Waitall, MPI_COMM_NULL, (int n, MPI_Request *r, MPI_Status *s), n, r, s)
WRAP(Send, c, (const void *a, int n, MPI_Datatype t, int to, int tag, MPI_Comm c), a, n, t, to, tag, c)
WRAP(Recv, c, (void *a, int n, MPI_Datatype t, int from, int tag, MPI_Comm c, MPI_Status *s), a, n, t, from, tag, c, s)
WRAP(Alltoallv, c,
     (const void *a, const int *an, const int *aa, MPI_Datatype at_, void *b, const int *bn, const int *ba,
      MPI_Datatype bt, MPI_Comm c),
     a, an, aa, at_, b, bn, ba, bt, c)
WRAP(Allgatherv, c,
     (const void *a, int n, MPI_Datatype t, void *b, const int *bn, const int *ba, MPI_Datatype bt, MPI_Comm c), a, n,
     t, b, bn, ba, bt, c)
WRAP(Comm_dup, c, (MPI_Comm c, MPI_Comm *out), c, out)
WRAP(Comm_split, c, (MPI_Comm c, int colour, int key, MPI_Comm *out), c, colour, key, out)
WRAP(Comm_free, *c, (MPI_Comm * c), c)
WRAP(Win_allocate, c, (MPI_Aint size, int unit, MPI_Info info, MPI_Comm c, void *base, MPI_Win *w), size, unit, info, c,
     base, w)
WRAP(Fetch_and_op, MPI_COMM_NULL, (const void *a, void *b, MPI_Datatype t, int to, MPI_Aint place, MPI_Op o, MPI_Win w),
     a, b, t, to, place, o, w)
