/* Pruning one network, step by step.
 *
 *     reap_session_settings settings = reap_session_defaults();
 *     settings.amount = 0.5;                                           (half of the multiply-adds)
 *     reap_network_load(comm, "net.onnx", &network);
 *     reap_dataset_open("images.h5", &images);
 *     reap_session_create(comm, &network, images, &settings, &session);
 *     reap_session_plan(session);                                      (sizes of all groups)
 *     for (bool more = true; more;) reap_session_step(session, &step, &more);
 *     reap_session_finish(session);
 *     if (reap_comm_rank(comm) == 0) reap_session_write_onnx(session, "small.onnx");
 *     reap_session_destroy(&session);
 *
 * Every call returns a status (reap/error.h). Collective calls return the same one on all ranks. After an error a
 * session can only be destroyed.
 *
 * Between two steps a session is its settings, the sizes, the records of the steps done, and the pruned network. All
 * else follows from the images and the original network.
 */
#ifndef REAP_SESSION_H
#define REAP_SESSION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/method.h"
#include "reap/network.h"
#include "reap/path.h"
#include "reap/solver.h"

REAP_API_BEGIN

/* ------------------------------------------------------------------ settings */

/* What `amount` is a share of. */
typedef enum reap_budget {
  REAP_BUDGET_FLOPS,        /* the multiply-adds */
  REAP_BUDGET_PARAMS,       /* the parameters */
  REAP_BUDGET_KEEP,         /* the channels of every group */
  REAP_BUDGET_LATENCY,      /* the time of one image, as measured on this machine */
  REAP_BUDGET_MILLISECONDS, /* no share: the time of one image */
  REAP_BUDGET_SIZES         /* none: reap_session_set_sizes() gives the sizes */
} reap_budget;

/* How a budget is distributed over the groups. */
typedef enum reap_ratios {
  REAP_RATIOS_AUTO,    /* by the output; by paths with from_stats; uniform for REAP_BUDGET_KEEP */
  REAP_RATIOS_UNIFORM, /* the same share in every group */
  REAP_RATIOS_PATH,    /* least summed error of the layers' outputs */
  REAP_RATIOS_OUTPUT,  /* least movement of the network's output; needs images or from_paths */
  REAP_RATIOS_GIVEN    /* what REAP_BUDGET_SIZES stands for */
} reap_ratios;

/* Which groups are pruned (see reap/groups.h). */
typedef enum reap_scope {
  REAP_SCOPE_AUTO,  /* inner ones; coupled ones too if these do not reach the budget, or if there are none */
  REAP_SCOPE_INNER, /* inner ones */
  REAP_SCOPE_ALL    /* coupled ones too: chosen jointly over all layers that read them and cut first, then everything
                       behind is re-solved. Without refit by a method that goes by the weights, with uniform ratios.
                       Needs images; no times, no files of statistics, activations or paths yet */
} reap_scope;

typedef enum reap_switch { REAP_SWITCH_AUTO, REAP_SWITCH_ON, REAP_SWITCH_OFF } reap_switch;

/* More rows than these lower no error by what is seen in networks that are pruned: analysis/README.md. */
enum { REAP_POSITIONS_AUTO = -1024 };

/* Made by reap_session_defaults(), then changed. Strings are borrowed until the session is destroyed. */
typedef struct reap_session_settings {
  /* How much stays. */
  reap_budget budget;   /* multiply-adds */
  double amount;        /* 0.5: above 0 and, if it is a share, at most 1 */
  reap_ratios ratios;   /* REAP_RATIOS_AUTO */
  reap_measure measure; /* of several outputs: the largest */
  const char *min_keep; /* "8": the fewest channels of every group; "0.25", "25%": a share; "8,conv1=16,layer3*=0.5": of
                           some, the last that fits; NULL: one */
  reap_scope scope;     /* REAP_SCOPE_AUTO */
  int64_t multiple_of;  /* channels that layers keep of a group are multiples of it, unless all stay. 1: any number */
  const char *exclude;  /* groups and layers left alone, "conv1,layer3*"; NULL */

  /* How. */
  const reap_method *method; /* NULL: reap */
  reap_refit_kind refit; /* REAP_REFIT_LEAST_SQUARES. METHOD: for methods that give weights, or a path. Layers behind
                        coupled groups, and those whose channels are given, are then solved by least squares */
  bool repair;           /* re-solve layers that lose no inputs but read changed ones; needs refit and images: true */
  int producer_rounds;   /* of a pruned layer and the one that produces its inputs, solved in turn; part of the
                            repair: 4 */
  reap_switch
      temperature_scaling; /* one factor for a classifier's outputs, part of the repair. AUTO: behind a soft-max,
                              or if the only output belongs to images with labels (which are not read) */
  unsigned views; /* REAP_VIEW_* added, of images held out, which stand for new images where the original agrees with
                     itself on them: a classifier's factor is chosen by them. 0: images as they are. REAP_VIEWS_ALL */
  double ridge;   /* relative to each column's own scale: REAP_DEFAULT_RIDGE */
  reap_ridge_rule ridge_rule; /* which layers take the ridge that their held-out images prefer: those of few rows */
  reap_solver solver;         /* REAP_SOLVER_AUTO */
  int64_t images;             /* only the first so many; 0: all */
  int64_t positions; /* output positions drawn of each image; 0: all; -k: so many that each column of a layer has k
                        rows, or all where they cost hardly more: REAP_POSITIONS_AUTO */
  uint64_t seed;     /* of these, and of the method random: 0 */

  /* What sizes are chosen by (REAP_RATIOS_PATH, REAP_RATIOS_OUTPUT). */
  int path_sizes;         /* of each group, at which the output is measured: 5 */
  int64_t path_images;    /* held-out images that it is measured on, at most: 500 */
  int64_t path_least;     /* channels at which a path ends: 1 */
  const char *from_paths; /* file of losses in place of measuring them; NULL */
  const char
      *save_paths; /* file for the losses of all groups, which are measured whether they are needed or not; NULL */

  /* Moments and activations. */
  const char *from_stats;  /* moments of the original network, in place of images; NULL */
  const char *save_stats;  /* file for the moments that layers were solved from; NULL */
  const char *activations; /* file for the layers' inputs and targets; NULL */
  const char *data_hash;   /* SHA-256 of the images' file, or of from_stats, if it is known; NULL: computed if needed */

  /* Running. */
  reap_backend backend;          /* REAP_BACKEND_AUTO */
  int64_t memory;                /* limit in bytes for both networks' values and buffers on a rank; 0: none */
  const char *scratch;           /* scratch folder for what exceeds it: "/tmp" */
  const reap_progress *progress; /* called at every step, on every rank; NULL */

  /* Going on after an end that was not meant. */
  const char *checkpoint; /* file that tells what was found and done so far, rewritten as the run goes on; NULL. Not
                             with save_stats or activations */
  bool resume; /* go on from it, with as many ranks as there are, if it is there: the channels are those of a run that
                  was never broken, the weights too where each layer is solved on one rank and ranks are as many: false
                */
  const volatile sig_atomic_t *stop; /* once it is not zero on some rank, plan and step return REAP_STOPPED on all of
                                        them, as soon as what is at hand is done and written; NULL */
} reap_session_settings;

reap_session_settings reap_session_defaults(void);

/* "flops", "params", "keep", "latency" or "plan"; "uniform", "path", "output" or "plan"; "given", "few"
 * or "auto". */
const char *reap_budget_name(reap_budget budget);
const char *reap_ratios_name(reap_ratios ratios);
const char *reap_ridge_rule_name(reap_ridge_rule rule);

/* ------------------------------------------------------------------ a session */

typedef struct reap_session reap_session;

/* Collective. Finds the groups and what can be found wrong with the settings: REAP_ERR_USAGE for settings that do not
 * go together, names that do not exist and budgets that cannot be met, REAP_ERR_INPUT for a network without prunable
 * groups. Communicator, network and images are borrowed until the session is destroyed, and stay as they are; images
 * may be NULL with from_stats. The settings are copied. */
int reap_session_create(const reap_comm *comm, const reap_network *network, reap_dataset *images,
                        const reap_session_settings *settings, reap_session **out);

/* Local. NULL is fine. Sets *session to NULL. */
void reap_session_destroy(reap_session **session);

/* Local; the same on all ranks. For REAP_BUDGET_SIZES, before reap_session_plan(): channels that each group keeps,
 * counts[groups], and which ones: kept[group] holds counts[group] indices, ascending, or is NULL, which leaves the
 * choice to the method. kept may be NULL. Both are copied. REAP_ERR_USAGE names a group that cannot lose channels. */
int reap_session_set_sizes(reap_session *session, const int64_t *counts, int64_t *const *kept);

/* Collective. Chooses the sizes, and measures what they are chosen by. */
int reap_session_plan(reap_session *session);

/* What a step did. Names and lists belong to the session. Errors are relative, of the layer's outputs. */
typedef struct reap_session_record {
  int index, count;      /* of the step, and of all */
  const char *layer;     /* whose inputs were pruned, or that was repaired; NULL: there was nothing to do */
  const char *group;     /* NULL: the layer was repaired */
  int64_t channels;      /* inputs of the layer before, */
  int64_t n_kept;        /* and after */
  const int64_t *kept;   /* [n_kept] ascending; NULL for a repair */
  double error;          /* on the images in the moments; NaN if it was not formed */
  double held_out_error; /* on images held out; NaN if there are none */
  double seconds;
} reap_session_record;

/* Collective. The next step: one layer pruned or repaired. *more tells whether another is to come; record may be NULL.
 * The first step checks whether the machine has the memory (REAP_ERR_RESOURCE names the layer). */
int reap_session_step(reap_session *session, reap_session_record *record, bool *more);

/* Collective. After the last step: scales classifiers' outputs, and completes the files. */
int reap_session_finish(reap_session *session);

/* Local, borrowed. The groups, numbered anew as they lose channels; channels that each keeps, [groups], after
 * reap_session_plan(); the pruned network as it is now. */
const reap_groups *reap_session_groups(const reap_session *session);
const int64_t *reap_session_sizes(const reap_session *session);
const reap_graph *reap_session_graph(const reap_session *session);

/* Local. The results are where they belong: rank 0 removes the checkpoint, if there is one. */
void reap_session_remove_checkpoint(const reap_session *session);

/* Local: rank 0 should do it. The pruned network as it is now, whole or not at all. */
int reap_session_write_onnx(const reap_session *session, const char *path);

REAP_API_END

#endif
