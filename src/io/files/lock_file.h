/* A lock that one process holds, on whatever host: a file locked by the system, which takes the lock back when the
 * process ends, however it ends. Local. */
#ifndef REAP_IO_FILES_LOCK_FILE_H
#define REAP_IO_FILES_LOCK_FILE_H

typedef struct reap_lock_file reap_lock_file;

/* Creates and locks `path`. REAP_ERR_INPUT if another process holds it, for some seconds even: "<what> is in use:
 * process P on host H holds <path> since ...". If the file system has no locks, a warning says so and *out is
 * NULL. */
int reap_lock_file_take(const char *path, const char *what, reap_lock_file **out);

/* Removes the file and lets go of it; NULL is fine. */
void reap_lock_file_release(reap_lock_file **lock);

#endif
