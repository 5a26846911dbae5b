/* The methods of the library, and what a run asks of any method; private to src/prune. */
#ifndef REAP_PRUNE_METHODS_METHODS_H
#define REAP_PRUNE_METHODS_METHODS_H

#include "reap/method.h"

/* A line for each: reap_method_NAME is defined in a file of its own. */
/* clang-format off */
#define REAP_METHODS(method) \
  method(reap) \
  method(reap_post) \
  method(l1) \
  method(l1_filter) \
  method(l2) \
  method(l2_filter) \
  method(fpgm) \
  method(bn_scale) \
  method(thinet) \
  method(cp) \
  method(id) \
  method(obd) \
  method(obs_frozen) \
  method(exchange) \
  method(random)
/* clang-format on */

#define REAP_METHOD_DECLARE(name) extern const reap_method reap_method_##name;
REAP_METHODS(REAP_METHOD_DECLARE)
#undef REAP_METHOD_DECLARE

/* "reap|l1|...": the names of all methods into out[size]. Local. */
void reap_method_names(char *out, size_t size);

/* Local. REAP_ERR_USAGE naming the method and what it lacks if it needs more than `offered`. */
int reap_method_check(const reap_method *method, unsigned offered);

/* Local. REAP_ERR_USAGE naming method and group if it cannot choose for this one. */
int reap_method_check_group(const reap_method *method, const reap_graph *graph, const reap_group *group);

/* The method whose pilot runs choose sizes for this one: itself if it can (REAP_CAN_SIZES), else reap. Local. */
const reap_method *reap_method_for_sizes(const reap_method *method);

/* Whether the method takes part in no distributed solve, but wants the moments, so that a rank has to hold them. */
bool reap_method_holds_moments(const reap_method *method);

/* Asks the method (state: from its prepare) and makes a set of what it gives: kept[n_kept] ascending, and the others in
 * removed[channels - n_kept], in their order of removal or, without one, ascending. *path is owned by the caller: with
 * weights from the method (evidence->own_weights, or a method that gives a path), else NULL. Local, or collective over
 * evidence->comm. REAP_ERR_NUMERIC and REAP_ERR_INTERNAL name the method and the group where it gives what is no
 * choice. */
int reap_method_select(const reap_method *method, void *state, const reap_evidence *evidence, int64_t *kept,
                       int64_t *removed, reap_path **path);

/* The channels that kept[n_kept], ascending, leaves out: removed[channels - n_kept], ascending. */
void reap_channels_left_out(int64_t channels, int64_t n_kept, const int64_t *kept, int64_t *removed);

#endif
