/* A graph cut at random, another masked likewise, and whether constants that graphs share were changed. */
#ifndef TESTS_CUT_NETWORKS_H
#define TESTS_CUT_NETWORKS_H

#include "small_networks.h"

#include "model/groups/surgery.h"
#include "reap/groups.h"

static inline reap_graph *clone(const reap_graph *g) {
  reap_graph *copy = NULL;
  CHECK_OK(reap_graph_clone(g, &copy));
  CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
  return copy;
}

/* Sets the weights to zero with which the group's consumers read what is not kept. */
static inline void mask(reap_graph *g, const reap_groups *groups, int index, const bool *keep) {
  const reap_group *group = reap_groups_at(groups, index);
  for (int c = 0; c < group->n_members; c++) {
    const reap_node *node = g->nodes[group->members[c].node];
    if (group->members[c].role != REAP_CONSUMES || (!node->linear && reap_node_int(node, "group", 1) > 1)) continue;
    reap_tensor *w = g->values[node->inputs[1]].constant;
    CHECK_OK(reap_own(&w->f32, w->count, sizeof *w->f32));
    const int64_t rows = node->linear ? w->dims[0] : 1; /* a transposed convolution has its inputs along axis 0 */
    int64_t *entries = NULL, columns = node->linear ? w->dims[1] : w->dims[0], inner = w->count / (rows * columns);
    const int64_t parts = node->linear ? reap_node_int(node, "group", 1) : 1;
    CHECK_OK(reap_alloc(&entries, parts * columns, sizeof *entries));
    int64_t n = reap_groups_entries(groups, node->inputs[0], index, keep, entries);
    CU_ASSERT_TRUE(n >= 0 && n < parts * columns);
    for (int64_t j = 0; j < rows; j++)
      for (int64_t e = 0, k = 0; e < parts * columns; e++) { /* the inputs of all groups of a convolution */
        const bool kept = k < n && entries[k] == e, own = e / columns == j / (rows / parts);
        k += kept;
        for (int64_t t = 0; own && !kept && t < inner; t++) w->f32[(j * columns + e % columns) * inner + t] = 0;
      }
    reap_free(&entries);
  }
}

static int64_t last_kept[64]; /* units of the groups, of the last network that was cut */

/* Keeps about half of every group that can be cut, at random; `masked` (may be NULL) is masked alike. Groups cut. */
static inline int cut_all(reap_graph *cut, reap_graph *masked, uint64_t seed) {
  reap_groups *groups = NULL, *original = NULL;
  reap_random random = reap_random_init(seed, 0, 0);
  int count = 0;
  CHECK_OK(reap_groups_find(cut, &groups));
  CHECK_OK(reap_groups_find(cut, &original));
  for (int g = 0; groups && g < reap_groups_count(groups); g++) {
    const int64_t channels = reap_groups_at(groups, g)->units;
    if (g < 64) last_kept[g] = channels;
    if (!reap_groups_at(groups, g)->cuttable) continue;
    bool *keep = NULL;
    int64_t *kept = NULL, n = 1 + reap_random_below(&random, channels - 1);
    CHECK_OK(reap_calloc(&keep, channels, sizeof *keep));
    CHECK_OK(reap_alloc(&kept, channels, sizeof *kept));
    reap_random_sample(&random, channels, n, kept);
    if (g < 64) last_kept[g] = n;
    for (int64_t k = 0; k < n; k++) keep[kept[k]] = true;
    if (masked) mask(masked, original, g, keep);
    CHECK_OK(reap_surgery_cut(cut, groups, g, n, kept));
    CU_ASSERT_EQUAL(reap_groups_at(groups, g)->units, n);
    for (int c = 0; c < reap_groups_at(groups, g)->n_members; c++) {
      const reap_member *member = &reap_groups_at(groups, g)->members[c];
      const reap_linear *linear = cut->nodes[member->node]->linear;
      if (member->role == REAP_PRODUCES && linear) CU_ASSERT_TRUE(linear->changed);
    }
    reap_free(&keep);
    reap_free(&kept);
    count++;
  }
  reap_groups_destroy(&groups);
  reap_groups_destroy(&original);
  return count;
}

/* Says whether any constant of a graph was changed: of a clone's and its original's, which share them, none may be. */
static inline uint64_t constants_digest(const reap_graph *g) {
  uint64_t digest = 14695981039346656037u;
  for (int i = 0; i < g->n_values; i++) {
    const reap_tensor *t = g->values[i].constant;
    for (int64_t k = 0; t && t->dtype == REAP_F32 && k < t->count; k++) {
      uint32_t bits;
      memcpy(&bits, &t->f32[k], sizeof bits);
      digest = (digest ^ bits) * 1099511628211u;
    }
  }
  for (int i = 0; i < g->n_nodes; i++) {
    const reap_linear *linear = g->nodes[i]->linear;
    for (int64_t k = 0; linear && k < linear->n_raw; k++) {
      uint32_t bits;
      memcpy(&bits, &linear->raw_weights[k], sizeof bits);
      digest = (digest ^ bits) * 1099511628211u;
    }
  }
  return digest;
}

#endif
