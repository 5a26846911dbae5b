/* A layer's moments from a statistics file; private to src/prune. */
#ifndef REAP_STATS_STORED_MOMENTS_H
#define REAP_STATS_STORED_MOMENTS_H

#include "model/operators/layer.h"
#include "reap/moments.h"
#include "reap/stats_file.h"

/* Local. REAP_ERR_INPUT naming file and layer if they are not there or not of this layer's shape; the caller owns *out.
 */
int stored_moments_read(reap_stats_file *file, const char *name, const reap_layer *layer, reap_moments **out);

/* The same, piece by piece; every rank opens its own. The file must outlive it. */
int stored_moments_open(reap_stats_file *file, const char *name, const reap_layer *layer, reap_stats_source **out);

#endif
