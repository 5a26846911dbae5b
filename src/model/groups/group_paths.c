/* Paths of groups; see group_paths.h.
 *
 * Interpolation. Let e be the relative error of a group's consumer and q how far the network's output moves. For small
 * errors the output moves linearly with the layer's output, and both measures (KL divergence, relative squared error)
 * are quadratic in that: q is proportional to e. For larger ones the constant changes, but slowly against the range of
 * e, which spans decades along one path: hence straight lines in log e, log q between the sizes measured. Measured
 * values are noisy where they are small; pooling adjacent violators gives the ascending sequence nearest to them.
 *
 * Cost: O(sizes^2) a call at worst, with a handful of sizes. Failure: none; where nothing was measured it is all 0.
 */
#include "group_paths.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

static const char *const MEASURES[] = {"relative_squared_error", "soft_kl", "largest_share", "sum_of_shares"};

const char *reap_path_measure_name(reap_path_measure measure) { return MEASURES[measure]; }

bool reap_path_measure_named(const char *name, reap_path_measure *measure) {
  for (int i = 0; i < (int)(sizeof MEASURES / sizeof MEASURES[0]); i++) {
    if (strcmp(name, MEASURES[i]) != 0) continue;
    *measure = (reap_path_measure)i;
    return true;
  }
  return false;
}

int reap_group_paths_create(int n, reap_group_paths **out) {
  reap_group_paths *p = NULL;
  REAP_TRY(reap_calloc(&p, 1, sizeof *p));
  int status = reap_calloc(&p->paths, n, sizeof *p->paths);
  p->n = n;
  p->power = 1;
  for (int i = 0; i < REAP_PATHS_TRIALS; i++) p->trials[i].moved = NAN;
  if (status != REAP_OK) reap_free(&p);
  *out = p;
  return status;
}

void reap_group_path_clear(reap_group_path *p) {
  reap_free(&p->group);
  reap_free(&p->layer);
  reap_free(&p->order);
  reap_free(&p->error);
  reap_free(&p->sizes);
  reap_free(&p->moved);
  memset(p, 0, sizeof *p);
}

void reap_group_paths_destroy(reap_group_paths **paths) {
  reap_group_paths *p = *paths;
  if (!p) return;
  for (int i = 0; i < p->n; i++) reap_group_path_clear(&p->paths[i]);
  reap_free(&p->paths);
  reap_free(paths);
}

int reap_group_path_allocate(reap_group_path *p, const char *group, const char *layer, int64_t channels,
                             int64_t n_removed, int n_sizes) {
  int status = REAP_OK;
  memset(p, 0, sizeof *p);
  p->channels = channels;
  p->n_removed = n_removed;
  p->n_sizes = n_sizes;
  REAP_TRY_OR(reap_strdup(&p->group, group), failed);
  REAP_TRY_OR(reap_strdup(&p->layer, layer), failed);
  REAP_TRY_OR(reap_calloc(&p->order, n_removed, sizeof *p->order), failed);
  REAP_TRY_OR(reap_calloc(&p->error, n_removed, sizeof *p->error), failed);
  REAP_TRY_OR(reap_calloc(&p->sizes, n_sizes, sizeof *p->sizes), failed);
  REAP_TRY_OR(reap_calloc(&p->moved, n_sizes, sizeof *p->moved), failed);
  return REAP_OK;
failed:
  reap_group_path_clear(p);
  return status;
}

const reap_group_path *reap_group_paths_find(const reap_group_paths *paths, const char *group) {
  for (int i = 0; i < paths->n; i++)
    if (strcmp(paths->paths[i].group, group) == 0) return &paths->paths[i];
  return NULL;
}

/* ------------------------------------------------------------------ can it be a path? */

static const char *fault_of_order(const reap_group_path *p, bool *seen) {
  memset(seen, 0, (size_t)p->channels * sizeof *seen);
  for (int64_t i = 0; i < p->n_removed; i++) {
    if (p->order[i] < 0 || p->order[i] >= p->channels) return "its order names a channel that it does not have";
    if (seen[p->order[i]]) return "its order names a channel twice";
    seen[p->order[i]] = true;
  }
  return NULL;
}

static const char *fault_of_numbers(const reap_group_path *p) {
  double last = 0;
  for (int64_t i = 0; i < p->n_removed; i++) {
    if (!isfinite(p->error[i]) || p->error[i] < last) return "its errors are negative, not finite or descending";
    last = p->error[i];
  }
  for (int i = 0; i < p->n_sizes; i++) {
    const int64_t above = i == 0 ? p->channels : p->sizes[i - 1];
    if (p->sizes[i] >= above || p->sizes[i] < reap_group_path_least(p))
      return "its sizes do not descend within what the path reaches";
    if (!isfinite(p->moved[i]) || p->moved[i] < 0) return "what it moves the output by is negative or not finite";
  }
  return NULL;
}

static const char *fault_of(const reap_group_path *p, bool *seen) {
  if (!p->group || !p->layer) return "it has no name";
  if (p->channels < 1 || p->block < 1 || p->m < 1 || p->n_removed < 0 || p->n_removed >= p->channels || p->n_sizes < 0)
    return "its sizes are not those of a layer";
  const char *fault = fault_of_order(p, seen);
  return fault ? fault : fault_of_numbers(p);
}

int reap_group_paths_check(const reap_group_paths *paths, const char *what) {
  for (int i = 0; i < paths->n; i++) {
    const reap_group_path *p = &paths->paths[i];
    bool *seen = NULL;
    REAP_TRY(reap_alloc(&seen, p->channels > 0 ? p->channels : 1, sizeof *seen));
    const char *fault = fault_of(p, seen);
    reap_free(&seen);
    if (fault) return reap_error(REAP_ERR_INPUT, "%s: group \"%s\": %s", what, p->group ? p->group : "", fault);
    if (reap_group_paths_find(paths, p->group) != p)
      return reap_error(REAP_ERR_INPUT, "%s: group \"%s\" is there twice", what, p->group);
  }
  return REAP_OK;
}

static const reap_group *group_named(const reap_groups *groups, const char *name) {
  for (int g = 0; g < reap_groups_count(groups); g++)
    if (strcmp(reap_groups_at(groups, g)->name, name) == 0) return reap_groups_at(groups, g);
  return NULL;
}

int reap_group_paths_match(const reap_group_paths *paths, const reap_groups *groups, const char *what) {
  for (int i = 0; i < paths->n; i++) {
    const reap_group_path *p = &paths->paths[i];
    const reap_group *group = group_named(groups, p->group);
    if (!group || !group->prunable)
      return reap_error(REAP_ERR_INPUT, "%s: the network has no group \"%s\" that can be pruned", what, p->group);
    if (group->units != p->channels)
      return reap_error(REAP_ERR_INPUT, "%s: group \"%s\" has %lld channels there and %lld in the network", what,
                        p->group, (long long)p->channels, (long long)group->units);
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ along a path */

int64_t reap_group_path_least(const reap_group_path *p) { return p->channels - p->n_removed; }

double reap_group_path_error(const reap_group_path *p, int64_t kept) {
  if (kept >= p->channels || p->n_removed == 0) return 0;
  const int64_t removed = p->channels - kept;
  return p->error[removed < p->n_removed ? removed - 1 : p->n_removed - 1];
}

/* Value at measured size i of the ascending sequence nearest to what was measured: the largest over what may start
 * before i of the smallest mean over what may end behind i. */
static double ascending(const reap_group_path *p, int i) {
  double best = 0;
  for (int first = 0; first <= i; first++) {
    double least = INFINITY, sum = 0;
    for (int last = first; last < p->n_sizes; last++) {
      sum += p->moved[last];
      if (last >= i) least = fmin(least, sum / (last - first + 1));
    }
    best = fmax(best, least);
  }
  return best;
}

typedef struct point {
  double error, moved;
} point;

static point measured(const reap_group_path *p, int i) {
  return (point){reap_group_path_error(p, p->sizes[i]), ascending(p, i)};
}

/* Between a and b; by a straight line where there are no logarithms. */
static double between(point a, point b, double error) {
  if (b.error <= a.error) return b.moved;
  if (a.error > 0 && a.moved > 0)
    return a.moved * pow(b.moved / a.moved, log(error / a.error) / log(b.error / a.error));
  return a.moved + (b.moved - a.moved) * (error - a.error) / (b.error - a.error);
}

/* Beyond b, the last size measured; a the one before it. */
static double beyond(point a, point b, double error) {
  double power = 1;
  if (b.error <= 0) return b.moved;
  if (a.error > 0 && a.moved > 0 && b.error > a.error) power = log(b.moved / a.moved) / log(b.error / a.error);
  return b.moved * pow(error / b.error, fmin(fmax(power, 1), 2));
}

double reap_group_path_moved(const reap_group_path *p, int64_t kept) {
  if (p->n_sizes == 0 || kept >= p->channels) return 0;
  const double error = reap_group_path_error(p, kept);
  point a = {0, 0}, b = measured(p, 0);
  if (error <= 0) return 0;
  for (int i = 0;;) {
    if (kept >= p->sizes[i]) return fmin(between(a, b, error), b.moved);
    if (++i == p->n_sizes) return beyond(a, b, error);
    a = b;
    b = measured(p, i);
  }
}

void reap_group_path_mask(const reap_group_path *p, int64_t size, bool *kept) {
  for (int64_t c = 0; c < p->channels; c++) kept[c] = true;
  for (int64_t i = 0; i < p->channels - size && i < p->n_removed; i++) kept[p->order[i]] = false;
}

double reap_group_paths_loss(const reap_group_paths *paths, int index, double behind, int64_t kept) {
  const double moved = reap_group_path_moved(&paths->paths[index], kept);
  return moved > 0 ? pow(moved, paths->power) * exp(-paths->tilt * behind) : 0;
}

int reap_group_path_keep(const reap_group_path *p, int64_t size, int64_t **kept) {
  bool *mask = NULL;
  int64_t count = 0;
  *kept = NULL;
  int status = reap_alloc(&mask, p->channels, sizeof *mask);
  if (status == REAP_OK) status = reap_alloc(kept, size, sizeof **kept);
  if (status == REAP_OK) {
    reap_group_path_mask(p, size, mask);
    for (int64_t c = 0; c < p->channels; c++)
      if (mask[c]) (*kept)[count++] = c;
  }
  reap_free(&mask);
  return status;
}
