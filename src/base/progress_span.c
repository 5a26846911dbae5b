#include "progress_span.h"

#include <stddef.h>

static void report(void *context, const reap_progress_event *e) {
  const reap_progress_span *s = context;
  const double share = e->total > 0 ? e->done / e->total : 0;
  const reap_progress_event event = {s->phase, e->item, s->first + s->size * share, s->total, NULL, e->part};
  s->outer->report(s->outer->context, &event);
}

void reap_progress_span_begin(reap_progress_span *s, const reap_progress *outer, const char *phase, double first,
                              double size, double total) {
  *s = (reap_progress_span){.outer = outer, .phase = phase, .first = first, .size = size, .total = total};
  s->inner = (reap_progress){outer && outer->report ? report : NULL, s};
  reap_progress_report(outer, phase, NULL, first, total, NULL);
}
