#include "memory_figures.h"

#include <math.h>
#include <stdio.h>

#include "base/text.h"
#include "reap/error.h"
#include "reap/memory.h"

int memory_figures_gather(const reap_comm *comm, const memory_options *o, const reap_frontier_use *use,
                          const reap_memory_estimate *estimate, memory_figures *out) {
  double largest[] = {(double)reap_memory_peak_resident(), (double)use->peak, use->seconds_scratch};
  double sums[] = {(double)use->spilled, (double)use->read_back, (double)use->recomputed, use->recomputed_multiply_adds,
                   (double)use->images_read};
  REAP_TRY(reap_comm_max(comm, largest, 3));
  REAP_TRY(reap_comm_sum(comm, sums, 5));
  *out = (memory_figures){.limit = (double)o->bytes,
                          .peak_resident = largest[0],
                          .frontier = largest[1],
                          .seconds_scratch = largest[2],
                          .spilled = sums[0],
                          .read_back = sums[1],
                          .recomputed = sums[2],
                          .recomputed_multiply_adds = sums[3],
                          .images_read = sums[4]};
  if (!estimate) return REAP_OK;
  out->model = (double)estimate->model;
  out->moments = (double)estimate->every_rank;
  out->solver = (double)estimate->deciding_rank;
  return REAP_OK;
}

void memory_figures_report(const memory_figures *f, const memory_options *o, cJSON *report) {
  cJSON *memory = cJSON_AddObjectToObject(report, "memory");
  JSON_NUMBERS(memory, {"limit", f->limit > 0 ? f->limit : NAN}, {"peak_resident", f->peak_resident},
               {"frontier", f->frontier}, {"model", f->model}, {"moments", f->moments}, {"solver", f->solver});
  cJSON_AddStringToObject(memory, "scratch", f->limit > 0 ? o->folder : "");
  JSON_NUMBERS(memory, {"spilled_bytes", f->spilled}, {"read_back_bytes", f->read_back},
               {"recomputed_bytes", f->recomputed}, {"recomputed_multiply_adds", f->recomputed_multiply_adds},
               {"images_read_bytes", f->images_read}, {"scratch_seconds", f->seconds_scratch});
}

/* "1.5 GB" */
static const char *amount(double value, const char *unit, char text[32]) {
  static const char *const prefixes[] = {"", "k", "M", "G", "T", "P"};
  int k = 0;
  for (; k < 5 && value >= 1000; k++) value /= 1000;
  snprintf(text, 32, k ? "%.2f %s%s" : "%.0f %s%s", value, prefixes[k], unit);
  return text;
}

void memory_figures_print(const memory_figures *f, const memory_options *o) {
  char a[32], b[32], c[32], d[32];
  reap_print(stdout, "%-16s %s at most on a rank, values and buffers %s of it", "memory",
             amount(f->peak_resident, "B", a), amount(f->frontier, "B", b));
  if (f->limit > 0) {
    if (f->spilled + f->recomputed > 0)
      reap_print(stdout, " (limit %s); %s in a scratch file in %s, %s computed again (%s multiply-adds)",
                 amount(f->limit, "B", a), amount(f->spilled, "B", b), o->folder, amount(f->recomputed, "B", c),
                 amount(f->recomputed_multiply_adds, "", d));
    else
      reap_print(stdout, " (limit %s, not reached)", amount(f->limit, "B", d));
  }
  reap_print(stdout, "\n");
}
