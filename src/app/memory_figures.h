/* What a run took of memory, for its report and for the user; private to src/app. */
#ifndef REAP_APP_MEMORY_FIGURES_H
#define REAP_APP_MEMORY_FIGURES_H

#include "app/json/json.h"

#include "app/options/memory_options.h"
#include "exec/frontier.h"
#include "prune/estimate/memory_estimate.h"
#include "reap/comm.h"

/* Bytes unless said otherwise; largest over ranks, or sums over them. */
typedef struct memory_figures {
  double limit;                  /* 0: none */
  double peak_resident;          /* largest: of the process so far */
  double frontier;               /* largest: values and buffers of both networks, measured */
  double model, moments, solver; /* of a rank, and of the one that solves, by count */
  double spilled, read_back, recomputed, recomputed_multiply_adds, images_read; /* sums */
  double seconds_scratch;                                                       /* largest */
} memory_figures;

/* Collective. `estimate` may be NULL: then model, moments and solver are left at 0. */
int memory_figures_gather(const reap_comm *comm, const memory_options *options, const reap_frontier_use *use,
                          const reap_memory_estimate *estimate, memory_figures *out);

/* The report's object `memory`. */
void memory_figures_report(const memory_figures *figures, const memory_options *options, cJSON *report);

/* One line. */
void memory_figures_print(const memory_figures *figures, const memory_options *options);

#endif
