/* The layers that read a group: columns, weights, and what their errors are relative to; private to src/prune/methods.
 * Local. */
#ifndef REAP_PRUNE_METHODS_READERS_H
#define REAP_PRUNE_METHODS_READERS_H

#include "reap/method.h"

/* Unit whose column it is; -1: none of the group's. */
static inline int64_t reap_reader_unit(const reap_reader *reader, int64_t column) {
  return reader->unit ? reader->unit[column] : column / reader->gram->block;
}

/* One over the centred energy of the outputs; 0 if they are constant. */
double reap_reader_scale(const reap_reader *reader);

/* The layer's present weights [n, m] row-major and bias [m]; the caller frees them (reap_free), also after an error. */
int reap_reader_weights(const reap_evidence *evidence, const reap_reader *reader, double **weights, double **bias);

/* columns[units * *each]: those of each unit, ascending, as many of each; -1 where a unit has fewer. The caller frees
 * it (reap_free). */
int reap_reader_columns(const reap_reader *reader, int64_t units, int64_t *each, int64_t **columns);

#endif
