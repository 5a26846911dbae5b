/* Which images held out the movement of the outputs is measured on, and what each of them stands for; private to
 * src/prune. */
#ifndef REAP_PRUNE_SENSITIVITY_MEASURED_IMAGES_H
#define REAP_PRUNE_SENSITIVITY_MEASURED_IMAGES_H

#include "sensitivity.h"

typedef struct measured_images {
  int64_t count;
  int64_t *indices; /* [count] of the data set, ascending */
  double *weights;  /* [count] of all images at hand, how many each stands for; NULL: one each */
} measured_images;

/* Local, the same on all ranks. How many of so many images held out are taken: all, or half of them and what
 * fills the graph's last block, where the network has one output and that is a classifier's scores. */
int reap_measured_count(const reap_graph *graph, int64_t images, int64_t *count);

/* Collective; the same on all ranks and for any number of them. Of the images of the setting (which has no weights). To
 * be cleared also after an error. */
int reap_measured_choose(const reap_comm *comm, const reap_graph *graph, const sensitivity_setting *setting,
                         measured_images *out);
void reap_measured_clear(measured_images *m);

/* Local. Draws exactly `wanted` of n items, with shares of chance chance[n] >= 0 (a tenth of them even), each item once
 * at most: drawn[wanted] ascending, stands_for[wanted] one over the chance that it had. wanted: 1 .. n. start: at
 * random from 0 .. 1, or any where the order of the items is one of chance. */
int reap_measured_draw(int64_t n, const double *chance, int64_t wanted, double start, int64_t *drawn,
                       double *stands_for);

#endif
