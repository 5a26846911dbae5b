/* How far a pruned network is from the original on views of images held out. */
#ifndef REAP_EXEC_VIEW_JUDGE_H
#define REAP_EXEC_VIEW_JUDGE_H

#include "base/bootstrap.h"
#include "divergence.h"
#include "reap/comm.h"
#include "views.h"

/* "flips", "shifts", "mixes": bit k of what is asked. */
enum { REAP_VIEW_KINDS = 3 };
extern const char *const reap_view_names[REAP_VIEW_KINDS];

/* Collective. Which of the views `asked` (REAP_VIEW_* added) are used: those on which the network's class of the most
 * score is that of the image itself, of every output of scores, for at least 80 % of the images (of 200 at most).
 * agreement[k]: that share; NaN of those not asked. None without outputs of scores. */
int reap_views_agreed(const reap_comm *comm, const reap_graph *graph, const reap_views *views, unsigned asked,
                      reap_backend backend, double agreement[REAP_VIEW_KINDS], unsigned *agreed);

/* Means over the images of the mean over an image's views, with intervals for the chance in the images. Of several
 * outputs of scores: of the one with the largest KL, or (REAP_MEASURE_SUM) KL of all together and shares of the first.
 */
typedef struct reap_view_figures {
  int64_t images;     /* 0: there are no scores, and no figures */
  reap_interval top1; /* share whose class of the most score is the original's */
  reap_interval kl;   /* KL(original || pruned) of the soft-max, in nats */
  bool labelled;      /* the next one holds */
  reap_interval drop; /* of the share whose class is the label: original less pruned */
} reap_view_figures;

/* Collective. The same on all ranks and for any number of them. used 0: the images as they are. REAP_ERR_INPUT if an
 * image or label cannot be read. */
int reap_views_judge(const reap_comm *comm, const reap_graph *original, const reap_graph *pruned,
                     const reap_views *views, unsigned used, reap_backend backend, reap_measure measure,
                     reap_view_figures *out);

#endif
