/* A layer and the one that produces its inputs, run on blocks of images with weights that change; private to src/prune.
 *
 * The two follow each other directly, or with a function between them that acts on each number by itself: a Relu, or
 * any few nodes (x * sigmoid(x), say). What the first reads is held by a frontier that has not computed it yet;
 * everything behind it is computed anew, block by block, as often as it is asked for.
 */
#ifndef REAP_PRUNE_REPAIR_PRODUCER_PASS_H
#define REAP_PRUNE_REPAIR_PRODUCER_PASS_H

#include "exec/plan.h"
#include "prune/run/producer_path.h"
#include "prune/run/run.h"
#include "stream_drift.h"

/* Rounds are made on a part of the images, so that all of them take about as long as the rest of a step: every so many
 * blocks one, for PRODUCER_IMAGES images or so at most. */
enum { PRODUCER_IMAGES = 1000, PRODUCER_PART = 4 };

/* Positions of an image in the moments, in a run with so many (stats/samples.h). Where a run draws as many as it needs,
 * the producer's take all: a direction is small beside what it is found in. */
static inline int64_t producer_positions(int64_t positions, bool consumer) {
  return positions >= 0 ? positions : consumer ? -256 : 0;
}

/* Every how many blocks one counts. */
static inline int64_t producer_stride(int64_t images) {
  return images / PRODUCER_IMAGES > PRODUCER_PART ? images / PRODUCER_IMAGES : PRODUCER_PART;
}

/* Every pass goes over its blocks twice (accumulator.h): what the first time gave is kept for the second one, of so
 * many bytes' blocks. */
enum { PRODUCER_KEPT_BYTES = 64 << 20 };

typedef struct producer_pass {
  const run *run;
  const step *step; /* of the consumer, its channels already cut */
  producer_path path;
  bool relu;           /* the function is a Relu, of a sum if there are values beside */
  stream_drift stream; /* of what the consumer reads, where others read it too (path.shared), on images in the sums */
  reap_layer producer, consumer;
  const char *names[2];   /* of producer and consumer */
  int64_t stride;         /* every so many blocks one counts, of the blocks of all ranks */
  reap_plan *front;       /* up to what the consumer reads, for the weights at hand */
  reap_plan *plan;        /* with the consumer */
  reap_plan *function;    /* the nodes between, alone; NULL if there are none, or for a Relu */
  float **storage;        /* [n_values] */
  int64_t kept_blocks;    /* room in `kept`, which has the first blocks that count */
  float *kept;            /* of what this pass computes: consumer's inputs, or what goes back */
  bool *has;              /* [kept_blocks] */
  bool knows_inputs;      /* on all ranks: of the producer's inputs, which do not change with weights, */
  double *inputs;         /* rank 0 has the Gram matrix [n, n] then */
  float *middle, *output; /* a block of the consumer's inputs and outputs */
  float *back;      /* a block, as the producer's outputs lie: what they ought to gain, see reap_producer_pass_back */
  float *rows_back; /* an image's rows of patches of that */
  float *weights;   /* [kernel_y * kernel_x * channels, m] of the consumer, as im2col.h orders patches */
  float *before,
      *slope; /* a block of the producer's outputs, and of the function's derivative; NULL without function */
} producer_pass;

/* To be cleared also after an error. Local. */
int reap_producer_pass_create(const run *r, const step *s, producer_pass *out);
void reap_producer_pass_clear(producer_pass *p);

/* Local, after the graph's weights of either layer have changed; before the first pass. */
int reap_producer_pass_renew(producer_pass *p);

/* Collective. Moments of the consumer: inputs as they are now, targets. The caller owns them. drift, square: of the
 * stream (stream_drift.h), 0 where nothing else reads it. */
int reap_producer_pass_moments(producer_pass *p, reap_moments **moments, double *drift, double *square);

/* Collective. With R what is left of the consumer's targets, W its weights and S what the stream lacks, B = (R W' +
 * weight S) [positions of the producer's outputs, channels] times the function's derivative: half the negative gradient
 * of the squared errors in the producer's outputs. Moments of the producer's inputs against B, and both[channels,
 * channels]: the mean over positions of the product of two channels' derivatives (of a Relu, the share of positions at
 * which both are let through). The same on all ranks. */
int reap_producer_pass_back(producer_pass *p, double weight, reap_moments **moments, double *both);

#endif
