/* Allowed sizes: multiples of a number from a least one on, and all channels. */
#include "sizes.h"

#include "reap/error.h"
#include "reap/memory.h"

static int64_t step_of(const reap_ratio_problem *p, int g) {
  return p->multiple && p->multiple[g] > 1 ? p->multiple[g] : 1;
}

int64_t reap_ratios_least(const reap_ratio_problem *p, int g) {
  const int64_t channels = p->cost->channels[g], step = step_of(p, g),
                wanted = p->least && p->least[g] > 1 ? p->least[g] : 1;
  if (!p->cost->chosen[g]) return channels;
  const int64_t least = (wanted + step - 1) / step * step;
  return least < channels ? least : channels;
}

int64_t reap_group_size_next(const reap_ratio_problem *p, int g, int64_t kept, int direction) {
  const int64_t channels = p->cost->channels[g], step = step_of(p, g);
  if (direction > 0) {
    const int64_t next = kept / step * step + step;
    return kept >= channels ? 0 : next < channels ? next : channels;
  }
  if (kept <= reap_ratios_least(p, g)) return 0;
  return (kept - 1) / step * step;
}

int64_t reap_group_size_at_most(const reap_ratio_problem *p, int g, int64_t kept) {
  const int64_t channels = p->cost->channels[g], least = reap_ratios_least(p, g), step = step_of(p, g);
  if (kept >= channels) return channels;
  return kept < least ? least : kept / step * step;
}

static int fill(const reap_ratio_problem *p, int g, int most, group_sizes *s) {
  const int64_t least = reap_ratios_least(p, g), channels = p->cost->channels[g];
  int64_t count = 1;
  for (int64_t k = least; k < channels; k = reap_group_size_next(p, g, k, 1)) count++;
  const int64_t stride = (count + most - 1) / most;
  REAP_TRY(reap_alloc(&s->kept, count, sizeof *s->kept));
  REAP_TRY(reap_calloc(&s->loss, count, sizeof *s->loss));
  int64_t at = 0;
  for (int64_t k = least; k > 0; k = reap_group_size_next(p, g, k, 1), at++)
    if (at % stride == 0 || k == channels) s->kept[s->n++] = k;
  for (int i = 0; p->loss && p->loss[g] && i < s->n; i++) s->loss[i] = p->loss[g][s->kept[i]];
  return REAP_OK;
}

int reap_group_sizes_create(const reap_ratio_problem *p, int most, group_sizes **out) {
  const int n = p->cost->n_groups;
  REAP_TRY(reap_calloc(out, n, sizeof **out));
  int status = REAP_OK;
  for (int g = 0; status == REAP_OK && g < n; g++) status = fill(p, g, most, &(*out)[g]);
  if (status != REAP_OK) reap_group_sizes_destroy(out, n);
  return status;
}

void reap_group_sizes_destroy(group_sizes **sizes, int n_groups) {
  for (int g = 0; *sizes && g < n_groups; g++) {
    reap_free(&(*sizes)[g].kept);
    reap_free(&(*sizes)[g].loss);
  }
  reap_free(sizes);
}
