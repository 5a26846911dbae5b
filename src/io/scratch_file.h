/* A file for arrays of floats that do not fit into memory: written, read back and dropped. Local.
 *
 * Every rank has a file of its own, in HDF5, with one data set for each array. Its name is taken out of the folder as
 * soon as the file is open, so that nothing stays behind, however the process ends; the space is given back when the
 * file is closed. The space of dropped arrays is used again.
 */
#ifndef REAP_IO_SCRATCH_FILE_H
#define REAP_IO_SCRATCH_FILE_H

#include <stdint.h>

typedef struct reap_scratch_file reap_scratch_file;

/* REAP_ERR_INPUT if `folder` is not a folder that can be written to. */
int reap_scratch_folder_check(const char *folder);

/* In `folder`; REAP_ERR_INPUT, or REAP_ERR_RESOURCE if it is full. */
int reap_scratch_file_create(const char *folder, reap_scratch_file **out);
void reap_scratch_file_destroy(reap_scratch_file **file);

/* Writes values[count], count > 0, and tells under which number they are kept. REAP_ERR_RESOURCE names the folder if it
 * is full. */
int reap_scratch_file_write(reap_scratch_file *file, int64_t count, const float *values, int64_t *slot);

/* Reads the array kept as number `slot`, which has `count` floats. */
int reap_scratch_file_read(reap_scratch_file *file, int64_t slot, int64_t count, float *values);

/* Forgets an array. A failure only costs its space. */
void reap_scratch_file_drop(reap_scratch_file *file, int64_t slot);

/* Bytes that the file takes now. */
int64_t reap_scratch_file_size(const reap_scratch_file *file);

#endif
