/* A session's judgement by views of images held out (exec/views.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "session_state.h"

static reap_views views_of(const reap_session *s) {
  return (reap_views){s->images, s->held_out,
                      reap_shard_make(reap_split_count(REAP_SPLIT_TENTH, s->judged), s->shard.block,
                                      reap_comm_rank(s->comm), reap_comm_size(s->comm)),
                      s->settings.seed};
}

/* Those that are not used, and why. */
static void tell(const reap_session *s) {
  const reap_session_views *v = &s->info.views;
  for (int k = 0; k < REAP_VIEW_KINDS; k++)
    if (!isnan(v->agreement[k]) && !(v->used & (1U << k)))
      reap_log(REAP_LOG_INFO, "views: no %s, on which the original agrees with itself on %.0f %% of the images only",
               reap_view_names[k], 100 * v->agreement[k]);
}

void reap_session_judge_on(reap_session *s, int64_t images) { s->judged = images; }

int reap_session_views_choose(reap_session *s) {
  reap_session_views *v = &s->info.views;
  if (s->held_out) return REAP_OK; /* for trials */
  if (s->judged == 0) s->judged = s->shard.images;
  const int64_t count = s->images ? reap_split_count(REAP_SPLIT_TENTH, s->judged) : 0;
  const double start = reap_seconds();
  for (int k = 0; k < REAP_VIEW_KINDS; k++) v->agreement[k] = NAN;
  if (count < REAP_HELD_OUT_LEAST) return REAP_OK;
  REAP_TRY(reap_comm_alloc(s->comm, &s->held_out, count, sizeof *s->held_out));
  reap_split_list(REAP_SPLIT_TENTH, s->judged, count, s->held_out);
  const reap_views views = views_of(s);
  REAP_TRY(reap_views_agreed(s->comm, s->network->graph, &views, s->settings.views, s->settings.backend, v->agreement,
                             &v->used));
  tell(s);
  s->info.times.views += reap_seconds() - start;
  return REAP_OK;
}

int reap_session_views_judge(reap_session *s) {
  reap_session_views *v = &s->info.views;
  const double start = reap_seconds();
  if (!s->held_out) return REAP_OK;
  const reap_views views = views_of(s);
  REAP_TRY(reap_views_judge(s->comm, s->network->graph, s->pruned, &views, v->used, s->settings.backend,
                            s->settings.measure, &v->figures));
  s->info.times.views += reap_seconds() - start;
  return REAP_OK;
}
