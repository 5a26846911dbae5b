/* Progress of a call within a longer one: what the inner call reports becomes a span of the outer one's phase. */
#ifndef REAP_BASE_PROGRESS_SPAN_H
#define REAP_BASE_PROGRESS_SPAN_H

#include "reap/log.h"

typedef struct reap_progress_span {
  const reap_progress *outer;
  const char *phase; /* of the outer call */
  double first, size, total;
  reap_progress inner; /* to hand to the inner call, as long as the span stays where it is */
} reap_progress_span;

/* Reports that `first` of `total` are done; the inner call then is the next `size` of them. Its phases become this one,
 * its details are dropped. outer may be NULL; strings are borrowed. Local. */
void reap_progress_span_begin(reap_progress_span *span, const reap_progress *outer, const char *phase, double first,
                              double size, double total);

#endif
