/* The methods of the table in method.c; private to src/prune. */
#ifndef REAP_PRUNE_METHODS_METHODS_H
#define REAP_PRUNE_METHODS_METHODS_H

#include "reap/method.h"

int reap_choose_reap(const reap_method_input *input, int64_t *kept, reap_path **path);
int reap_choose_l1(const reap_method_input *input, int64_t *kept, reap_path **path);
int reap_choose_l1_filter(const reap_method_input *input, int64_t *kept, reap_path **path);
int reap_choose_random(const reap_method_input *input, int64_t *kept, reap_path **path);

/* Indices of the `count` largest of scores[n], ascending; among equal scores the lower index is kept. */
int reap_keep_largest(const double *scores, int64_t n, int64_t count, int64_t *kept);

#endif
