/* Methods of choosing what leaves a group, behind one table. A C program may add its own: reap_method_register().
 *
 * A method says what it needs, what it gives and what it can. The rest is common code: which ranks call it, a set out
 * of scores or of an order, least-squares weights of the channels kept.
 */
#ifndef REAP_METHOD_H
#define REAP_METHOD_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/moments.h"
#include "reap/path.h"

REAP_API_BEGIN

/* What a method needs. A run that cannot give all of it refuses the method before it starts. */
enum {
  REAP_NEEDS_WEIGHTS = 1,     /* of the layers of reap_evidence.graph */
  REAP_NEEDS_GRAM = 2,        /* reap_evidence.gram */
  REAP_NEEDS_SAMPLES = 4,     /* rows of the layer's inputs and outputs; no run gives them yet */
  REAP_NEEDS_NORM_SCALES = 8, /* reap_linear.norm of the graph's layers */
  REAP_NEEDS_GRADIENTS = 16,  /* of a loss by the weights; no run gives them yet */
  REAP_NEEDS_LABELS = 32,     /* of the images: reap_method_context.images */
  REAP_NEEDS_SEED = 64        /* channels are drawn at random */
};

/* Where the weights of a layer that has lost inputs come from. */
typedef enum reap_refit_kind {
  REAP_REFIT_NONE, /* those that it had stay */
  REAP_REFIT_LEAST_SQUARES,
  REAP_REFIT_METHOD /* the method's own, where it chooses the channels of an inner group */
} reap_refit_kind;

/* What it gives: one of scores, order, set and path; weights beside one of the first three. */
enum {
  REAP_GIVES_SCORES = 1,  /* the channels with the largest scores stay; of equal ones those of lower index */
  REAP_GIVES_ORDER = 2,   /* in which channels go */
  REAP_GIVES_SET = 4,     /* of channels that stay */
  REAP_GIVES_WEIGHTS = 8, /* for the channels that stay: with REAP_REFIT_METHOD */
  REAP_GIVES_PATH = 16    /* an order, the error after each removal, and the least-squares weights at its end */
};

enum {
  REAP_CAN_COUPLED = 1,     /* groups with several producers or consumers */
  REAP_CAN_DISTRIBUTED = 2, /* all ranks call score(), also with moments that no rank holds; gives a path */
  REAP_CAN_SIZES = 4        /* sizes may be chosen by pilot runs of it; reap stands in for others */
};

/* What holds for all groups of a run. Borrowed, valid until finish(). */
typedef struct reap_method_context {
  const reap_comm *comm;
  const reap_graph *original; /* the network before pruning, prepared */
  const reap_groups *groups;
  reap_dataset *images; /* NULL where a run has statistics in place of images */
  uint64_t seed;
} reap_method_context;

/* A layer that reads a group. */
typedef struct reap_reader {
  int node;              /* of the graph */
  const reap_gram *gram; /* its moments: gram->moments is there, but perhaps not with REAP_CAN_DISTRIBUTED */
  const int64_t *unit;   /* [n] unit whose column it is, -1: of none of the group's; NULL: column / gram->block */
} reap_reader;

/* One group, with all of its channels still there. Borrowed, valid during the call. */
typedef struct reap_evidence {
  const reap_graph *graph; /* pruned up to this group; of a coupled group the original network, if moments are there */
  const reap_group *group;
  int64_t n_kept;        /* channels to keep, 1 .. group->units */
  const reap_gram *gram; /* of an inner group's reader; column = channel * gram->block + t. NULL for coupled groups */
  int n_readers;         /* layers whose moments are there: one for inner groups; none of a coupled group if the method
                            does not need them. Those with too few rows to have a say are left out */
  const reap_reader *readers;
  double ridge; /* relative to each column's own scale */
  uint64_t seed;
  const reap_comm *comm; /* NULL: this rank alone makes the call; else all do, with the same evidence */
  bool own_weights;      /* the method's own weights are wanted (REAP_REFIT_METHOD) */
} reap_evidence;

/* Filled by score(). Arrays are there, zero-filled, for what `gives` names, weights and bias only if they are wanted
 * (evidence->own_weights); all others are NULL. */
typedef struct reap_choice {
  double *scores;  /* [channels] finite */
  int64_t *order;  /* [channels - n_kept] */
  int64_t *kept;   /* [n_kept] in any order */
  double *weights; /* [n_kept * block, m] row-major, finite; rows of channels in ascending order */
  double *bias;    /* [m] */
  reap_path *path; /* made by the method, then owned by the caller; weights on rank 0 at least */
} reap_choice;

typedef struct reap_method {
  const char *name;    /* for --method and reports: letters, digits and '-' */
  const char *summary; /* one line, with the reference */
  unsigned needs, gives, can;
  /* May be NULL. Once before the first group of a run; *state is the method's own. Collective over context->comm. */
  int (*prepare)(const reap_method_context *context, void **state);
  /* For each group: on one rank alone, or collective over evidence->comm. */
  int (*score)(void *state, const reap_evidence *evidence, reap_choice *choice);
  /* May be NULL. After the last group, also after an error, where prepare went well. Local. */
  void (*finish)(void *state);
  /* May be NULL. Before any work, for each group that may be cut: REAP_ERR_USAGE, naming the group, if the network
   * lacks what the method needs there. Local. */
  int (*check)(const reap_graph *graph, const reap_group *group);
} reap_method;

/* Local. Adds a method, which stays the caller's and has to outlive all use. REAP_ERR_USAGE if its name is taken or
 * unfit, if it gives none or two of scores, order, set and path, or if there are REAP_METHODS_MOST. Not for several
 * threads at once. */
enum { REAP_METHODS_MOST = 64 };
int reap_method_register(const reap_method *method);

/* Entry of that name, or NULL; entries by index, NULL behind the last. */
const reap_method *reap_method_find(const char *name);
const reap_method *reap_method_at(int index);

REAP_API_END

#endif
