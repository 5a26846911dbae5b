/* Waits of libraries that call MPI by themselves, as ScaLAPACK does between its computations. MPI's interface for
 * profilers lets a program have its own functions of MPI's names: here they note what is waited for, and pass the call
 * on. What ScaLAPACK computes is no wait, then, however long it takes. Of its calls these may wait; it looks after
 * others (MPI_Testall) while it goes on.
 */
#include "comm/waiting.h"

/* A call of reap itself has said what it waits for. */
#define NOTED(name, parameters, ...)                         \
  int MPI_##name parameters {                                \
    const bool noted = reap_comm_enter_within("MPI_" #name); \
    const int code = PMPI_##name(__VA_ARGS__);               \
    if (noted) reap_comm_leave(code);                        \
    return code;                                             \
  }

NOTED(Recv, (void *buffer, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Status *status), buffer, n,
      type, from, tag, comm, status)
NOTED(Send, (const void *buffer, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm), buffer, n, type, to, tag,
      comm)
NOTED(Rsend, (const void *buffer, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm), buffer, n, type, to, tag,
      comm)
NOTED(Sendrecv,
      (const void *out, int n_out, MPI_Datatype type_out, int to, int tag_out, void *in, int n_in, MPI_Datatype type_in,
       int from, int tag_in, MPI_Comm comm, MPI_Status *status),
      out, n_out, type_out, to, tag_out, in, n_in, type_in, from, tag_in, comm, status)
NOTED(Waitall, (int n, MPI_Request *requests, MPI_Status *statuses), n, requests, statuses)
NOTED(Bcast, (void *buffer, int n, MPI_Datatype type, int root, MPI_Comm comm), buffer, n, type, root, comm)
NOTED(Reduce, (const void *in, void *out, int n, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm), in, out, n,
      type, op, root, comm)
NOTED(Allreduce, (const void *in, void *out, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm), in, out, n, type, op,
      comm)
NOTED(Barrier, (MPI_Comm comm), comm)
NOTED(Comm_create, (MPI_Comm comm, MPI_Group group, MPI_Comm *out), comm, group, out)
NOTED(Comm_dup, (MPI_Comm comm, MPI_Comm *out), comm, out)
NOTED(Comm_split, (MPI_Comm comm, int colour, int key, MPI_Comm *out), comm, colour, key, out)
NOTED(Comm_free, (MPI_Comm * comm), comm)
