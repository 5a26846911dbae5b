/* Costs from a graph; see cost_model.h. Everything follows from the linear layers and what lies along their channels;
 * cost O(nodes) a model, O(terms) an evaluation. */
#include "cost_model.h"

#include <string.h>

#include "model/operators.h"
#include "model/operators/layout.h"
#include "reap/error.h"
#include "reap/memory.h"

double reap_time_table_at(const reap_time_table *t, int64_t in, int64_t out) {
  double value = 0;
  int i = 0, j = 0;
  while (i + 2 < t->n_in && in > t->in[i + 1]) i++;
  while (j + 2 < t->n_out && out > t->out[j + 1]) j++;
  const double u = t->n_in < 2 ? 0 : (double)(in - t->in[i]) / (double)(t->in[i + 1] - t->in[i]);
  const double v = t->n_out < 2 ? 0 : (double)(out - t->out[j]) / (double)(t->out[j + 1] - t->out[j]);
  for (int a = 0; a < 2 && i + a < t->n_in; a++)
    for (int b = 0; b < 2 && j + b < t->n_out; b++)
      value += (a ? u : 1 - u) * (b ? v : 1 - v) * t->ms[(i + a) * t->n_out + j + b];
  return value > 0 ? value : 0;
}

void reap_cost_model_destroy(reap_cost_model **model) {
  reap_cost_model *m = *model;
  if (!m) return;
  reap_free(&m->channels);
  reap_free(&m->chosen);
  reap_free(&m->terms);
  reap_free(model);
}

static int fill_bare(reap_cost_model *m, int n, const int64_t *channels, const bool *chosen) {
  m->n_groups = n;
  REAP_TRY(reap_alloc(&m->channels, n, sizeof *m->channels));
  REAP_TRY(reap_alloc(&m->chosen, n, sizeof *m->chosen));
  memcpy(m->channels, channels, (size_t)n * sizeof *channels);
  memcpy(m->chosen, chosen, (size_t)n * sizeof *chosen);
  return REAP_OK;
}

int reap_cost_model_create_bare(int n_groups, const int64_t *channels, const bool *chosen, reap_cost_model **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  int status = fill_bare(*out, n_groups, channels, chosen);
  if (status != REAP_OK) reap_cost_model_destroy(out);
  return status;
}

int reap_cost_model_create(const reap_groups *groups, const bool *chosen, reap_cost_model **out) {
  const int n = reap_groups_count(groups);
  int64_t *channels = NULL;
  REAP_TRY(reap_alloc(&channels, n, sizeof *channels));
  for (int g = 0; g < n; g++) channels[g] = reap_groups_at(groups, g)->units;
  int status = reap_cost_model_create_bare(n, channels, chosen, out);
  reap_free(&channels);
  return status;
}

double reap_cost_term_at(const reap_cost_term *term, int64_t in, int64_t out) {
  return term->table ? reap_time_table_at(term->table, in, out) : term->unit * (double)in * (double)out;
}

/* Channels of a term's side: those of the group, 1 without one. Tables count a layer's channels even if no group is
 * cut. */
static int64_t kept_of(const reap_cost_model *m, const int64_t *counts, int group) {
  return group < 0 ? 1 : m->chosen[group] ? counts[group] : m->channels[group];
}

double reap_cost_model_at(const reap_cost_model *m, const int64_t *counts) {
  double sum = m->fixed;
  for (int t = 0; t < m->n_terms; t++)
    sum += reap_cost_term_at(&m->terms[t], kept_of(m, counts, m->terms[t].in), kept_of(m, counts, m->terms[t].out));
  return sum;
}

void reap_cost_model_finish(reap_cost_model *m) { m->whole = reap_cost_model_at(m, m->channels); }

/* Sides that are not free become part of the unit, terms without a free side part of what is fixed. */
int reap_cost_model_add(reap_cost_model *m, int in, int out, double unit, const reap_time_table *table) {
  if (!table) {
    if (in >= 0 && !m->chosen[in]) {
      unit *= (double)m->channels[in];
      in = -1;
    }
    if (out >= 0 && !m->chosen[out]) {
      unit *= (double)m->channels[out];
      out = -1;
    }
  }
  const reap_cost_term term = {in, out, unit, table};
  if ((in < 0 || !m->chosen[in]) && (out < 0 || !m->chosen[out])) {
    m->fixed += reap_cost_term_at(&term, kept_of(m, m->channels, in), kept_of(m, m->channels, out));
    return REAP_OK;
  }
  if (m->n_terms == m->capacity) {
    const int wanted = m->capacity ? 2 * m->capacity : 32;
    REAP_TRY(reap_grow(&m->terms, m->capacity, wanted, sizeof *m->terms));
    m->capacity = wanted;
  }
  m->terms[m->n_terms++] = term;
  return REAP_OK;
}

/* The group if its units may go, else -1: its part of a cost is fixed. */
static int free_group(const reap_cost_model *m, int group) { return group >= 0 && m->chosen[group] ? group : -1; }
static double units_of(const reap_cost_model *m, int group) { return group < 0 ? 1 : (double)m->channels[group]; }

/* A number of `total` that goes with the inputs and outputs of node i: a multiple of both. */
static int add_linear(reap_cost_model *m, const reap_groups *groups, int node, int64_t total) {
  const int in = free_group(m, reap_groups_consumed_by(groups, node)),
            out = free_group(m, reap_groups_produced_by(groups, node));
  return reap_cost_model_add(m, in, out, (double)total / (units_of(m, in) * units_of(m, out)), NULL);
}

static int add_flops(reap_cost_model *m, const reap_graph *graph, const reap_groups *groups) {
  for (int i = 0; i < graph->n_nodes; i++) {
    const int64_t flops = reap_node_flops(graph, i);
    if (flops > 0) REAP_TRY(add_linear(m, groups, i, flops));
  }
  return REAP_OK;
}

/* What goes with a producer's outputs alone: bias, and scale and bias of a norm folded into it. */
static int add_outputs(reap_cost_model *m, const reap_groups *groups, int node, int64_t count) {
  const int out = free_group(m, reap_groups_produced_by(groups, node));
  return reap_cost_model_add(m, -1, out, (double)count / units_of(m, out), NULL);
}

/* Adds the parameters of one group's entries at a normalisation, and takes them from `left`. units[]: scratch. */
static int add_norm_of(reap_cost_model *m, const reap_group *group, int node, int64_t *units, int64_t *left) {
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    int64_t entries = 0;
    if (member->node != node || member->input != 0) continue;
    const int64_t count = reap_member_units(group, member, units);
    for (int64_t i = 0; i < count; i++) entries += units[i] >= 0;
    *left -= entries;
    return reap_cost_model_add(m, -1, group->index, 2 * (double)entries / (double)group->units, NULL);
  }
  return REAP_OK;
}

/* A normalisation on its own: scale and bias of every channel it has, of whichever groups they are. */
static int add_norm(reap_cost_model *m, const reap_graph *graph, const reap_groups *groups, int node) {
  int64_t *units = NULL, left = reap_node_constant(graph, graph->nodes[node], 1)->count;
  REAP_TRY(reap_alloc(&units, reap_value_channels(reap_node_input(graph, graph->nodes[node], 0)), sizeof *units));
  int status = REAP_OK;
  for (int g = 0; status == REAP_OK && g < m->n_groups; g++)
    if (m->chosen[g]) status = add_norm_of(m, reap_groups_at(groups, g), node, units, &left);
  m->fixed += 2 * (double)left;
  reap_free(&units);
  return status;
}

/* Re-solved weights come with a bias, which the file may not have had. */
static bool gains_bias(const reap_groups *groups, const bool *chosen, const reap_node *node, int index) {
  const int in = reap_groups_consumed_by(groups, index);
  return in >= 0 && chosen[in] && !node->linear->bias_present && !node->linear->norm;
}

static int add_params(reap_cost_model *m, const reap_graph *graph, const reap_groups *groups) {
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    if (node->linear) {
      REAP_TRY(add_linear(m, groups, i, reap_node_constant(graph, node, 1)->count));
      if (node->linear->bias_present) REAP_TRY(add_outputs(m, groups, i, reap_node_constant(graph, node, 2)->count));
      if (node->linear->norm) REAP_TRY(add_outputs(m, groups, i, 2 * node->linear->norm->channels));
      if (gains_bias(groups, m->chosen, node, i))
        REAP_TRY(add_outputs(m, groups, i, reap_node_constant(graph, node, 1)->dims[0]));
    } else if (node->op->channels == REAP_CHANNELS_NORM) {
      REAP_TRY(add_norm(m, graph, groups, i));
    }
  }
  return REAP_OK;
}

static int make(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                int (*add)(reap_cost_model *, const reap_graph *, const reap_groups *), reap_cost_model **out) {
  REAP_TRY(reap_cost_model_create(groups, chosen, out));
  int status = add(*out, graph, groups);
  if (status != REAP_OK) reap_cost_model_destroy(out);
  if (status == REAP_OK) reap_cost_model_finish(*out);
  return status;
}

int reap_cost_model_flops(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                          reap_cost_model **out) {
  return make(graph, groups, chosen, add_flops, out);
}

int reap_cost_model_params(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                           reap_cost_model **out) {
  return make(graph, groups, chosen, add_params, out);
}
