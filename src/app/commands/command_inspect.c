/* reap inspect: layers, channel groups, multiply-adds and parameters of a network. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/json/json.h"
#include "app/report.h"
#include "base/text.h"
#include "base/timer.h"
#include "exec/output_set.h"
#include "inspect_estimate.h"
#include "inspect_groups.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/groups.h"
#include "reap/memory.h"
#include "reap/network.h"

static const char *const SYNOPSIS = "reap inspect MODEL [--data D.h5] [--json] [--estimate P]";
static const char *const ABOUT =
    "Lists a network's linear layers with their costs, its channel groups and its outputs. A group names the\n"
    "layers that produce and consume its channels, the multiply-adds that go with them, and the reason if it\n"
    "cannot be pruned. With --estimate also the memory and time of a pruning run.\n";

static void shape_text(const reap_value *v, char *text, size_t size) {
  text[0] = '\0';
  for (int i = 1; i < v->rank; i++) {
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%lld", i > 1 ? "x" : "", (long long)v->dims[i]);
  }
}

static int64_t layer_params(const reap_graph *graph, const reap_node *node) {
  const reap_tensor *w = reap_node_constant(graph, node, 1), *b = reap_node_constant(graph, node, 2);
  return w->count + (node->linear->bias_present ? b->count : 0) + (node->linear->norm ? 2 * b->count : 0);
}

/* 0.1 % and the like. */
static const char *share_text(double part, double whole, char text[16]) {
  snprintf(text, 16, "%.1f %%", whole > 0 ? 100 * part / whole : 0);
  return text;
}

/* A line of figures, and their shares of the network's. */
static void print_costs(const reap_graph *graph, const char *what, const char *op, const char *weights,
                        const char *output, int64_t flops, int64_t params) {
  char count[2][32], share[2][16];
  reap_print(
      stdout, "%-*s %-7s %-14s %-12s %12s %8s %10s %8s\n", reap_text_width(what, 40), what, op, weights, output,
      report_count((double)flops, count[0]), share_text((double)flops, (double)reap_graph_flops(graph), share[0]),
      report_count((double)params, count[1]), share_text((double)params, (double)reap_graph_params(graph), share[1]));
}

static void print_layer(const reap_graph *graph, int index) {
  const reap_node *node = graph->nodes[index];
  const reap_value *w = reap_node_input(graph, node, 1);
  char weights[64], shape[64];
  size_t used = (size_t)snprintf(weights, sizeof weights, "%lld", (long long)w->dims[0]);
  for (int k = 1; k < w->rank; k++)
    used += (size_t)snprintf(weights + used, sizeof weights - used, "x%lld", (long long)w->dims[k]);
  shape_text(reap_node_output(graph, node, 0), shape, sizeof shape);
  print_costs(graph, node->layer, node->op->name, weights, shape, reap_node_flops(graph, index),
              layer_params(graph, node));
}

/* Nodes that are no such layers may have costs, too. */
static void print_layers(const reap_graph *graph) {
  const int64_t all_flops = reap_graph_flops(graph), all_params = reap_graph_params(graph);
  int64_t flops = 0, params = 0;
  reap_print(stdout, "%-40s %-7s %-14s %-12s %12s %8s %10s %8s\n", "layer", "op", "weights", "output", "multiply-adds",
             "share", "parameters", "share");
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!graph->nodes[i]->linear) continue;
    print_layer(graph, i);
    flops += reap_node_flops(graph, i);
    params += layer_params(graph, graph->nodes[i]);
  }
  if (flops != all_flops || params != all_params)
    print_costs(graph, "other nodes", "", "", "", all_flops - flops, all_params - params);
  print_costs(graph, "total", "", "", "", all_flops, all_params);
}

/* "logits" and the like; "input" for an output that is the network's own input. */
static const char *output_kind(const reap_graph *graph, int value) {
  if (graph->values[value].producer < 0) return "input";
  return reap_output_kind_name(reap_output_kind_of(graph, value));
}

/* How pruning is judged by it. */
static const char *output_measure(const reap_graph *graph, int value) {
  if (graph->values[value].producer < 0) return "none";
  return reap_output_kind_of(graph, value) == REAP_OUTPUT_OTHER ? "relative_error" : "kl";
}

static void print_outputs(const reap_graph *graph) {
  char shape[64];
  reap_print(stdout, "\n%-40s %-14s %-18s %s\n", "output", "shape", "kind", "judged by");
  for (int k = 0; k < graph->n_outputs; k++) {
    const int v = graph->outputs[k];
    const char *measure = output_measure(graph, v);
    shape_text(&graph->values[v], shape, sizeof shape);
    reap_print(stdout, "%-*s %-14s %-18s %s\n", reap_text_width(graph->values[v].name, 40), graph->values[v].name,
               shape, output_kind(graph, v),
               strcmp(measure, "kl") == 0     ? "KL divergence"
               : strcmp(measure, "none") == 0 ? "nothing: it cannot change"
                                              : "relative squared error");
  }
}

static cJSON *dims_array(const reap_value *v, int first) {
  cJSON *array = cJSON_CreateArray();
  for (int i = first; i < v->rank; i++) json_append(array, cJSON_CreateNumber((double)v->dims[i]));
  return array;
}

static void report_outputs(const reap_graph *graph, cJSON *report) {
  cJSON *list = cJSON_AddArrayToObject(report, "outputs");
  for (int k = 0; k < graph->n_outputs; k++) {
    const int v = graph->outputs[k];
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", graph->values[v].name);
    json_add(object, "shape", dims_array(&graph->values[v], 1));
    cJSON_AddStringToObject(object, "kind", output_kind(graph, v));
    cJSON_AddStringToObject(object, "measure", output_measure(graph, v));
    json_append(list, object);
  }
}

static int print_json(const command_context *context, const char *model, const reap_network *network,
                      const reap_groups *groups, const inspect_reach *reach, const estimate_options *asked,
                      const estimate_figures *estimate) {
  const reap_graph *graph = network->graph;
  cJSON *report = report_create(context, "reap-inspect", REAP_BACKEND_AUTO);
  report_add_input(report, "model", model, reap_source_hash(network->source));
  JSON_NUMBERS(report, {"flops", (double)reap_graph_flops(graph)}, {"params", (double)reap_graph_params(graph)},
               {"block", (double)graph->batch});
  cJSON *layers = cJSON_AddArrayToObject(report, "layers");
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    if (!node->linear) continue;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", node->layer);
    cJSON_AddStringToObject(object, "op", node->op->name);
    json_add(object, "weights", dims_array(reap_node_input(graph, node, 1), 0));
    json_add(object, "output", dims_array(reap_node_output(graph, node, 0), 1));
    JSON_NUMBERS(object, {"flops", (double)reap_node_flops(graph, i)}, {"params", (double)layer_params(graph, node)});
    json_append(layers, object);
  }
  cJSON *unused = cJSON_AddArrayToObject(report, "unused_nodes");
  for (int64_t i = 0; i < reap_source_unused_count(network->source); i++)
    json_append(unused, cJSON_CreateString(reap_source_unused_node(network->source, i)));
  inspect_groups_report(graph, groups, reach, report);
  report_outputs(graph, report);
  if (asked->ranks > 0) estimate_report(asked, estimate, report);
  char *text = NULL;
  int status = json_print(report, true, &text);
  if (status == REAP_OK) printf("%s\n", text);
  reap_free(&text);
  cJSON_Delete(report);
  return status;
}

static int show(const command_context *context, const char *model, bool json, const reap_network *network,
                const estimate_options *asked, const estimate_figures *estimate) {
  reap_groups *groups = NULL;
  inspect_reach reach = INSPECT_REACH_NONE;
  char flops[32], params[32];
  REAP_TRY(reap_error_prefix(reap_groups_find(network->graph, &groups), "%s", model));
  int status = inspect_reach_find(network->graph, groups, &reach);
  if (status == REAP_OK && json) {
    status = print_json(context, model, network, groups, &reach, asked, estimate);
  } else if (status == REAP_OK) {
    print_layers(network->graph);
    inspect_groups_print(network->graph, groups, &reach);
    print_outputs(network->graph);
    reap_print(stdout, "\n%s multiply-adds for one image, %s parameters; blocks of %lld images\n",
               report_count((double)reap_graph_flops(network->graph), flops),
               report_count((double)reap_graph_params(network->graph), params), (long long)network->graph->batch);
    status = command_print_unused(network->source);
    if (status == REAP_OK && asked->ranks > 0) estimate_print(asked, estimate);
  }
  inspect_reach_clear(&reach);
  reap_groups_destroy(&groups);
  return status;
}

int command_inspect(const command_context *context) {
  const char *model = NULL, *data = NULL, *output_kind = NULL;
  bool json = false, done;
  estimate_options asked = ESTIMATE_DEFAULTS;
  estimate_figures estimate = {0};
  const option options[] = {{"--json", NULL, OPTION_FLAG, NULL, "print JSON", &json, 0},
                            {"--data", NULL, OPTION_TEXT, "D.h5",
                             "data set whose images have the sizes that the network leaves free", &data, 0},
                            OUTPUT_KIND_OPTION(output_kind),
                            ESTIMATE_OPTIONS(asked),
                            {"--help", "-h", OPTION_FLAG, NULL, "this text", NULL, 0},
                            {NULL, NULL, OPTION_FLAG, NULL, NULL, NULL, 0}};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap inspect", options, 1, names, .positional = &model};
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  REAP_TRY(estimate_options_check(&asked));
  reap_network network = {0};
  const double start = reap_seconds();
  REAP_TRY(reap_network_load_for(context->comm, model, data, &network));
  int status = reap_comm_agree(context->comm, reap_network_set_output_kinds(&network, output_kind));
  if (status == REAP_OK && asked.ranks > 0) status = reap_comm_agree(context->comm, reap_kernels_set_threads(1));
  if (status == REAP_OK && asked.ranks > 0)
    status = estimate_make(context->comm, &asked, &network, reap_seconds() - start, &estimate);
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0)
    status = show(context, model, json, &network, &asked, &estimate);
  reap_network_clear(&network);
  return reap_comm_agree(context->comm, status);
}
