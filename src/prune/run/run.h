/* A run over the layers of a network, and the layer at hand; private to src/prune.
 *
 * A run is a list of steps (steps.h). A step belongs to a linear layer; it prunes the group that this layer consumes,
 * if it has one, and re-solves the layer's weights.
 */
#ifndef REAP_PRUNE_RUN_RUN_H
#define REAP_PRUNE_RUN_RUN_H

#include "coupled_choice.h"
#include "decision.h"
#include "exec/frontier.h"
#include "model/operators/layer.h"
#include "producer_path.h"
#include "stats/gram.h"
#include "steps.h"
#include "types.h"

/* What is left of a value's entries along its axis of channels. */
typedef struct stay {
  int axis;
  int64_t count, *entries; /* [count] of the original; NULL: all */
} stay;

typedef struct run {
  const reap_comm *comm;
  const reap_graph *original;
  reap_graph *pruned;
  reap_groups *groups;
  reap_dataset *images;
  const reap_shard *shard;
  const reap_prune_options *options;
  reap_prune_result *result;
  void *method_state; /* from its prepare */
  bool prepared;
  reap_frontier *front_original, *front_pruned;
  reap_coupled_choice *choices; /* [groups] of coupled ones, from the first cut on; NULL: made by weights */
  stay *stays;                  /* [n_values] after cuts of coupled groups; NULL: there is none */
  reap_steps steps;
  int next; /* the next one to be taken */
  double work_done;
} run;

/* One layer at hand. */
typedef struct step {
  int group, node; /* see steps.h */
  reap_layer layer;
  int shortcut;          /* value whose drift the target carries, or -1 */
  int producer;          /* layer to be solved in turn with this one, or -1; see step_producer.c */
  producer_path path;    /* the way from there */
  reap_frontier *before; /* of the pruned network, with the producer not computed yet; NULL: there is no producer */
  reap_layer_gram gram;
  reap_samples data; /* of the layer as it was when its moments were gathered */
  reap_taps taps;    /* to be cleared (reap_step_clear_taps) */
  decision decision;
  reap_held_out_error held_out;
  double start;
} step;

/* True without images: everything comes from the original network's moments. */
bool reap_run_frozen(const run *r);

/* Blocks of images that this rank has. */
int64_t reap_run_blocks(const run *r);

/* run_images.c: the images to the frontier of the original network, within the memory given; then both networks up to a
 * step's layer, on the way s->before; the pruned one from there again; what the frontiers have used so far into the
 * result. Local. */
int reap_run_load_images(run *r);
int reap_run_advance(run *r, step *s);
int reap_run_advance_again(run *r, const step *s);
void reap_run_note_use(run *r);

/* run_images.c: the layer's rows as both networks stand, into s->data (borrows the step). Local. */
int reap_step_samples(const run *r, step *s);
void reap_step_clear_taps(step *s);

/* step_moments.c: the layer's moments from images or from a file into s->gram, distributed if no rank is to hold them;
 * kept for those who want to see them; the error on images held out of weights [n_kept * block, m] and bias [m] on the
 * channels that the decision keeps. Collective. */
int reap_step_moments(run *r, step *s);
int reap_step_keep_data(run *r, const step *s);
int reap_step_measure_held_out(run *r, const step *s, const double *weights, const double *bias,
                               reap_held_out_error *out);

/* step_confirm.c: after the cut, the layer run forward with its new weights, which have to do what they were solved
 * for. Collective. */
int reap_step_confirm(run *r, step *s);

/* step_repair.c: for a step without a group, new weights if they are better than the present ones, into s->decision.
 * Collective. */
int reap_step_repair(run *r, step *s);

/* step_producer.c: the layer that is solved in turn with the step's own, or -1, and the way from there; after the cut,
 * both layers' weights into the graph, new inputs into the frontier, s->decision and s->held_out. Collective. */
int reap_step_find_producer(const run *r, step *s);
int reap_step_producer(run *r, step *s);

/* step_scale.c: before the first step, the frontier is told of the outputs that it has to hold for classifiers that
 * are scaled (local); such a step, after all others (collective). */
void reap_run_keep_classifiers(run *r);
int reap_step_scale_classifier(run *r, const reap_step *at);

/* step_cut.c: a group cut at once, its units given or chosen by weights, or those that `past` keeps (NULL: there is no
 * past), and what was done in the result. Collective. What it keeps in the run is given back by the second (local). */
int reap_step_cut(run *r, const reap_step *what, const reap_step_record *past);
void reap_run_clear_cuts(run *r);

/* decision.c: channels and weights into s->decision, the same on all ranks. Collective. */
int reap_step_decide(run *r, step *s);

/* prune_result.c: what was done, into the result and to the user; what part of a step begins, to the user. Local. */
bool reap_step_has_few_samples(const step *s);
double reap_step_held_out_error(const reap_held_out_error *error);
void reap_step_warn_few_samples(const run *r, const step *s);
int reap_step_note(run *r, step *s);
void reap_step_announce(run *r);
void reap_step_tell(const run *r, const step *s, const char *part);

#endif
