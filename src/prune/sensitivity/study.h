/* A network run over images held out, and its outputs compared with the original's; private to src/prune/sensitivity.
 */
#ifndef REAP_PRUNE_SENSITIVITY_STUDY_H
#define REAP_PRUNE_SENSITIVITY_STUDY_H

#include "exec/divergence.h"
#include "exec/frontier.h"
#include "exec/image_blocks.h"
#include "exec/output_set.h"
#include "sensitivity.h"

typedef struct study {
  const reap_graph *graph;
  const sensitivity_setting *setting;
  reap_shard shard; /* of those images, over the team */
  reap_output_set outputs;
  reap_frontier *base;     /* the original network */
  float *reference, *rows; /* outputs of this rank's images (output_mean.h); of one block, padding included */
  double *of_means;        /* [outputs] of the original, where there are several */
} study;

/* Local. What is asked of the network's outputs. To be cleared also after an error. */
int reap_study_start(study *s);
void reap_study_clear(study *s);

/* Local. This rank's images. */
int reap_study_set_up(study *s);

static inline int64_t reap_study_blocks(const study *s) { return s->shard.last - s->shard.first; }

/* Local. Runs what is left of the network and gives the outputs of local block b (in s->rows) to `use`. */
int reap_study_run(study *s, const reap_frontier *from, const reap_graph *graph,
                   void (*use)(study *, int64_t b, void *context), void *context);

/* Uses: the outputs become the reference (context NULL); they are compared with it (context: the slots of all blocks,
 * [blocks, outputs], for the network at hand). */
void reap_study_keep(study *s, int64_t b, void *context);
void reap_study_compare(study *s, int64_t b, void *context);

/* Of the reference. Collective over the ranks that share its images. */
int reap_study_means(const reap_comm *comm, const study *s);

/* Local. Room for the divergences of `sizes` networks, [sizes, blocks, outputs]; the caller frees it. */
int reap_study_slots(const study *s, int64_t sizes, int64_t *count, reap_divergence **slots);

/* Every slot has one owner: exact. Collective. */
int reap_study_add_up(const reap_comm *comm, int64_t count, reap_divergence *slots);

/* How far the outputs have moved, by the slots of all blocks, which are added up in the first one's. Local. */
double reap_study_moved(const study *s, reap_divergence *slots);

#endif
