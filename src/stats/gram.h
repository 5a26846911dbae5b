/* The moments of one layer (X'X, X'Y, sums), wherever they are: whole on every rank, distributed over all ranks, in a
 * file, or still in the rows where these are few. Where they are is decided once, when they are gathered or opened. */
#ifndef REAP_STATS_GRAM_H
#define REAP_STATS_GRAM_H

#include "accumulator.h"
#include "gather_rows.h"
#include "moments_panels.h"
#include "reap/stats_file.h"
#include "row_residual.h"

typedef struct reap_layer_gram {
  reap_gram view; /* for the solver; view.moments is there where they are replicated. Zero on ranks that want none */
  reap_moments *moments;          /* replicated; the holder may take them over and set this to NULL */
  double multiply_adds;           /* of the sums over all ranks, at best; 0 from a file */
  double seconds, seconds_reduce; /* this rank's: the sums, adding up the ranks'; 0 from a file */
  const reap_comm *comm;
  reap_samples samples;          /* that it was gathered from */
  reap_accumulator *accumulator; /* of replicated moments from rows */
  reap_moments_panels *panels;   /* of those that no rank holds: X'X is summed anew whenever it is wanted */
  reap_few_rows *rows;           /* all rows, on every rank */
  reap_stats_source *stored;     /* of those in a file: every rank reads the pieces that it needs */
} reap_layer_gram;

/* Where the moments are to be. */
typedef enum reap_gram_place {
  REAP_GRAM_WHOLE,      /* on every rank: moments is there */
  REAP_GRAM_FREE,       /* in the rows if they are few, else whole */
  REAP_GRAM_DISTRIBUTED /* in the rows if they are few, else by panels */
} reap_gram_place;

/* Collective: from the rows that are in the sums. What the samples borrow must outlive the Gram system, which is to be
 * cleared also after an error. */
int reap_gram_gather(const reap_comm *comm, const reap_samples *samples, reap_gram_place place, reap_layer_gram *out);

/* Collective: layer `name` of a statistics file, which must outlive it; piece by piece, or whole on those ranks that
 * want it (moments stays NULL on others). REAP_ERR_INPUT names file and layer if they are not there or not of this
 * layer's shape. To be cleared also after an error. */
int reap_gram_read(const reap_comm *comm, reap_stats_file *file, const char *name, const reap_layer *layer, bool pieces,
                   bool wanted, reap_layer_gram *out);
void reap_gram_clear(reap_layer_gram *gram);

/* Collective, of a system that was gathered; the same on all ranks. Squared error of weights [n_kept * block, m]
 * (row-major) and bias [m] on the channels kept[n_kept], and the centred energy of Y: on the images held out or, if no
 * rank has whole moments, on those in the sums. */
int reap_gram_residual(const reap_layer_gram *gram, bool held_out, int64_t n_kept, const int64_t *kept,
                       const double *weights, const double *bias, reap_held_out_error *out);

#endif
