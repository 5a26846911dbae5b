/* Rows of one layer into an activations file, slab by slab; private to src/stats. */
#ifndef REAP_STATS_STORE_ROWS_H
#define REAP_STATS_STORE_ROWS_H

#include "io/activations_file.h"
#include "samples.h"

/* Collective. Rows of all images that are not held out, in the order of images and positions. energy: sum of Y squared.
 */
int reap_store_rows(const reap_comm *comm, const reap_samples *samples, double energy, reap_activations_file *file);

/* Bytes that the rows of the images not held out take before compression. Local. */
double reap_store_rows_bytes(const reap_samples *samples);

#endif
