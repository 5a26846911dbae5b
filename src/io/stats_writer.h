/* The writer of statistics from inside; private to src/io. */
#ifndef REAP_IO_STATS_WRITER_H
#define REAP_IO_STATS_WRITER_H

#include "io/hdf5/hdf5_util.h"
#include "reap/stats_file.h"

struct reap_stats_writer {
  const reap_comm *comm;
  char *path, *temporary; /* on rank 0, NULL elsewhere */
  hid_t file, layers;
};

/* The attributes of a layer. */
int reap_stats_writer_facts(hid_t layer, const char *node, int64_t channels, int64_t block, int64_t samples,
                            double energy);

#endif
