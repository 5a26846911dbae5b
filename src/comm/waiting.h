/* What a process waits for, to be read by another of its threads; private. Local.
 *
 * All calls of reap/comm.h tell, and others that wait for ranks; what ScaLAPACK and HDF5 do among themselves is not
 * seen: they compute or write in between.
 */
#ifndef REAP_COMM_WAITING_H
#define REAP_COMM_WAITING_H

/* Around a call that waits for other ranks; what: words that last, "a sum over ranks". */
void reap_comm_enter(const char *what);
void reap_comm_leave(void);

/* The collective call that the process is in, in words that last, and for how many seconds; NULL: in none. */
const char *reap_comm_waiting(double *seconds);

#endif
