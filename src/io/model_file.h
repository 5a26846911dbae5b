/* The pruned model in HDF5 (format "reap-model", version 1): the ONNX message without tensor data, one data set per
 * weight tensor, what was removed from each group, and where all of it comes from. Local calls. */
#ifndef REAP_IO_MODEL_FILE_H
#define REAP_IO_MODEL_FILE_H

#include <stdint.h>

#include "io/onnx/source.h"

/* What happened to one group. Pointers are borrowed. */
typedef struct reap_group_record {
  const char *group; /* name of the group */
  const char *layer; /* consumer whose inputs were cut */
  int64_t channels;  /* before */
  int64_t n_removed;
  const int64_t *removed; /* [n_removed] in order of removal */
  const double *error;    /* [n_removed] relative error after each removal; NULL if the method has none */
  int64_t n_kept;
  const int64_t *kept; /* [n_kept] ascending */
} reap_group_record;

typedef struct reap_provenance_entry {
  const char *key, *value;
} reap_provenance_entry;

typedef struct reap_model_record {
  int n_groups;
  const reap_group_record *groups;
  int n_provenance;
  const reap_provenance_entry *provenance; /* command, versions, seed, hashes of the inputs */
} reap_model_record;

/* Writes the file beside its name and renames it when complete. */
int reap_model_file_write(const reap_source *source, const reap_model_record *record, const char *path);

/* Local. Major, minor and release number of the HDF5 in use. */
void reap_hdf5_version(int version[3]);

#endif
