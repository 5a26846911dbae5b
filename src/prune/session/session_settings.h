/* What a session's settings come to; see reap/session.h. Local. */
#ifndef REAP_PRUNE_SESSION_SESSION_SETTINGS_H
#define REAP_PRUNE_SESSION_SESSION_SETTINGS_H

#include "prune/run/types.h"
#include "reap/session.h"

/* REAP_ERR_USAGE for settings out of range, or that do not go together. images: NULL or not. */
int reap_settings_check(const reap_session_settings *settings, const reap_dataset *images);

/* What `ratios` stands for: UNIFORM, PATH, OUTPUT or GIVEN. */
reap_ratios reap_settings_ratios(const reap_session_settings *settings);

/* Whether sizes are chosen by losses of groups at all sizes (with the output's movement for OUTPUT). */
bool reap_settings_need_losses(const reap_session_settings *settings);

/* The method whose losses choose the sizes: reap_method_for_sizes() for OUTPUT, reap for PATH; NULL: no losses do. */
const reap_method *reap_settings_sizes_method(const reap_session_settings *settings);

/* Whether the budget is a time. */
bool reap_settings_need_latency(const reap_session_settings *settings);

/* Whether layers that lose no inputs are re-solved. */
bool reap_settings_repair(const reap_session_settings *settings);

/* Rounds in which a pruned layer and the one that produces its inputs are solved in turn; 0: never. */
int reap_settings_producer_rounds(const reap_session_settings *settings);

/* layers[nodes]: every layer but those excluded, NULL without refit and repair. The caller frees it (reap_free). */
int reap_settings_repair_layers(const reap_session_settings *settings, const reap_graph *graph, bool **layers);

/* Which outputs may be scaled to the original's soft-max. */
reap_scaled_outputs reap_settings_scaled_outputs(const reap_session_settings *settings, const reap_graph *graph,
                                                 const reap_dataset *images);

/* Whether coupled groups could be pruned with these settings. */
bool reap_settings_allow_coupled(const reap_session_settings *settings);

#endif
