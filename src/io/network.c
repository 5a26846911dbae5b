#include "reap/network.h"
#include "model/tensor.h"

#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/text.h"
#include "io/onnx/source.h"
#include "model/prepare/batch_sizes.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

static int check_inputs(const char *path, const reap_graph *graph) {
  if (graph->n_inputs <= REAP_MOST_INPUTS) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s: the network has %d inputs; at most %d are supported", path, graph->n_inputs,
                    REAP_MOST_INPUTS);
}

/* The graph as read, with the sizes that its inputs are to have. */
static int sized(const reap_network *network, reap_graph **out) {
  REAP_TRY(reap_source_graph(network->source, out));
  for (int k = 0; k < (*out)->n_inputs && k < REAP_MOST_INPUTS; k++) {
    reap_value *x = &(*out)->values[(*out)->inputs[k]];
    for (int i = 1; i < x->rank; i++)
      if (x->dims[i] < 0 && network->sizes[k][i] > 0) x->dims[i] = network->sizes[k][i];
  }
  return REAP_OK;
}

/* Which sizes count images shows where shapes are inferred for another number of them, as far as that goes. */
static int note_batch(const reap_network *network, reap_graph *graph) {
  reap_graph *other = NULL;
  if (!reap_graph_measures(graph)) return REAP_OK;
  REAP_TRY(sized(network, &other));
  const int status = reap_graph_infer(other, graph->batch + 1);
  if (status == REAP_OK || status == REAP_ERR_INPUT) reap_graph_note_batch(graph, other);
  reap_graph_destroy(&other);
  return status == REAP_ERR_INPUT ? REAP_OK : status;
}

/* A graph prepared for `batch` images; NULL on failure. *mixes: it failed as the network computes across images. */
static int prepared(const reap_network *network, int64_t batch, reap_graph **out, bool *mixes) {
  REAP_TRY(sized(network, out));
  int status = reap_error_prefix(reap_graph_prepare(*out, batch), "%s", reap_source_path(network->source));
  *mixes = (*out)->mixes;
  if (status == REAP_OK) status = note_batch(network, *out);
  if (status != REAP_OK) reap_graph_destroy(out);
  return status;
}

/* The sizes of the data set's images where an input leaves its own free. */
static void take_sizes(const reap_dataset *images, const reap_value *x, int64_t sizes[REAP_MAX_RANK]) {
  int64_t dims[REAP_MAX_RANK];
  const int input = reap_dataset_find(images, x->name);
  if (input < 0) return; /* refused with the images */
  const int rank = reap_dataset_shape(images, input, dims);
  for (int i = 1; i < x->rank && rank == x->rank; i++) sizes[i] = x->dims[i] < 0 ? dims[i] : 0;
}

static int take_all_sizes(const char *path, const reap_graph *graph, reap_network *network) {
  reap_dataset *images = NULL;
  bool any = false;
  for (int k = 0; k < graph->n_inputs; k++)
    for (int i = 1; i < graph->values[graph->inputs[k]].rank; i++)
      any = any || graph->values[graph->inputs[k]].dims[i] < 0;
  if (!any || !path) return REAP_OK;
  REAP_TRY(reap_dataset_open(path, &images));
  for (int k = 0; k < graph->n_inputs; k++) take_sizes(images, &graph->values[graph->inputs[k]], network->sizes[k]);
  reap_dataset_close(&images);
  return REAP_OK;
}

/* The batch that the first input is fixed to in the file; 0 if it is free. And what sizes the inputs are to have. */
static int look_at_inputs(const char *images, reap_network *network, int64_t *batch) {
  reap_graph *graph = NULL;
  *batch = 0;
  REAP_TRY(reap_source_graph(network->source, &graph));
  const reap_value *x = graph->n_inputs > 0 ? &graph->values[graph->inputs[0]] : NULL;
  if (x && x->rank > 0 && x->dims[0] > 0) *batch = x->dims[0];
  int status = check_inputs(reap_source_path(network->source), graph);
  if (status == REAP_OK) status = take_all_sizes(images, graph, network);
  reap_graph_destroy(&graph);
  return status;
}

static int load(const char *path, const char *images, reap_network *out) {
  int64_t fixed = 0;
  bool mixes = false;
  REAP_TRY(reap_source_load(path, &out->source));
  REAP_TRY(look_at_inputs(images, out, &fixed));
  REAP_TRY(prepared(out, fixed > 0 ? fixed : 1, &out->graph, &mixes));
  int64_t block = reap_graph_block_size(out->graph);
  if (block == out->graph->batch && block > 1) return REAP_OK;
  reap_graph_destroy(&out->graph); /* what is folded and transposed takes memory: one graph at a time */
  const int status = prepared(out, block > 1 ? block : 2, &out->graph, &mixes); /* one image has none to meet */
  if (status == REAP_OK && block > 1) return REAP_OK;
  /* The batch may be written into the network (a Reshape to [1, ...], say), or images may not stay one behind the
   * other: then what the file says stays, or one image. */
  if (status != REAP_ERR_INPUT || mixes) REAP_TRY(status);
  reap_graph_destroy(&out->graph);
  return prepared(out, fixed > 0 ? fixed : 1, &out->graph, &mixes);
}

/* Said where the network is read, not wherever its file is: once in a run. */
static int tell_unused(const reap_source *source) {
  char *text = NULL;
  REAP_TRY(reap_source_unused_text(source, &text));
  if (text) reap_log(REAP_LOG_INFO, "%s: %s", reap_source_path(source), text);
  reap_free(&text);
  return REAP_OK;
}

int reap_network_load(const reap_comm *comm, const char *path, reap_network *out) {
  return reap_network_load_for(comm, path, NULL, out);
}

int reap_network_load_for(const reap_comm *comm, const char *path, const char *images, reap_network *out) {
  memset(out, 0, sizeof *out);
  int status = load(path, images, out);
  if (status == REAP_OK) status = tell_unused(out->source);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK)
    status = reap_comm_same(comm, reap_source_hash(out->source), strlen(reap_source_hash(out->source)), path);
  if (status != REAP_OK) reap_network_clear(out);
  return status;
}

int reap_network_set_batch(reap_network *network, int64_t batch) {
  reap_graph *graph = NULL;
  bool mixes;
  if (network->graph->batch == batch) return REAP_OK;
  REAP_TRY(prepared(network, batch, &graph, &mixes));
  reap_graph_destroy(&network->graph);
  network->graph = graph;
  return REAP_OK;
}

static int say(reap_graph *graph, const char *name, int length, const char *kind, int kind_length) {
  static const char *const kinds[] = {"", "scores", "values"};
  char nearest[REAP_NEAREST_TEXT];
  reap_nearest near = reap_nearest_to(name, (size_t)length);
  int found = 0, said = 0;
  for (int i = 1; i < 3; i++)
    if ((int)strlen(kinds[i]) == kind_length && strncmp(kinds[i], kind, (size_t)kind_length) == 0) said = i;
  if (said == 0)
    return reap_error(REAP_ERR_USAGE, "the kind of output \"%.*s\" is scores or values, not \"%.*s\"", length, name,
                      kind_length, kind);
  for (int k = 0; k < graph->n_outputs; k++) {
    reap_value *y = &graph->values[graph->outputs[k]];
    reap_nearest_offer(&near, y->name, strlen(y->name));
    if (!reap_text_names(name, (size_t)length, y->name)) continue;
    if (said == REAP_OUTPUT_IS_SCORES && (y->rank != 2 || reap_value_count(y) / y->dims[0] < 2))
      return reap_error(REAP_ERR_USAGE, "output \"%.*s\" cannot be scores: its shape is not [N, classes]", length,
                        name);
    y->said = (reap_output_said)said;
    found = 1;
  }
  if (found) return REAP_OK;
  return reap_error(REAP_ERR_USAGE, "\"%.*s\" is given a kind, and is no output of this network%s", length, name,
                    reap_nearest_text(&near, "\"", nearest));
}

int reap_network_set_output_kinds(reap_network *network, const char *kinds) {
  for (const char *at = kinds; at && *at;) {
    const int length = (int)strcspn(at, ",");
    int name = length - 1;
    while (name >= 0 && at[name] != '=') name--; /* the last one: names may have this sign in them */
    if (name < 0) name = length;
    const int kind = name < length ? name + 1 : length;
    if (length > 0) REAP_TRY(say(network->graph, at, name, at + kind, length - kind));
    at += length + (at[length] == ',');
  }
  return REAP_OK;
}

void reap_network_clear(reap_network *network) {
  reap_graph_destroy(&network->graph);
  reap_source_destroy(&network->source);
}

/* "3 x 32 x 32" from dims[1 .. rank-1]. */
static const char *shape_text(int rank, const int64_t *dims, char text[256]) {
  text[0] = '\0';
  for (int i = 1; i < rank; i++) {
    const size_t used = strlen(text);
    snprintf(text + used, 256 - used, "%s%lld", i > 1 ? " x " : "", (long long)dims[i]);
  }
  return text;
}

/* "a", "b" and what follows: what the data set has. */
static const char *names_text(const reap_dataset *images, char text[256]) {
  text[0] = '\0';
  for (int k = 0; reap_dataset_input_name(images, k) && strlen(text) < 200; k++) {
    const size_t used = strlen(text);
    snprintf(text + used, 256 - used, "%s\"%.60s\"", k > 0 ? ", " : "", reap_dataset_input_name(images, k));
  }
  return text;
}

static int check_input(const reap_network *network, const reap_value *x, const reap_dataset *images) {
  const char *path = reap_dataset_path(images), *model = reap_source_path(network->source);
  const int input = reap_dataset_find(images, x->name);
  int64_t dims[REAP_MAX_RANK];
  char held[256], wanted[256];
  if (input < 0)
    return reap_error(REAP_ERR_INPUT,
                      "%s has data for the inputs %s; %s takes \"%s\", of %s, as well: store \"inputs/%s\"", path,
                      names_text(images, held), model, x->name, shape_text(x->rank, x->dims, wanted), x->name);
  const int rank = reap_dataset_shape(images, input, dims);
  const char *name = reap_dataset_input_name(images, input);
  if (!reap_same_dims(x->rank - 1, x->dims + 1, rank - 1, dims + 1))
    return name ? reap_error(REAP_ERR_INPUT, "%s holds \"inputs/%s\" of %s; %s takes %s", path, name,
                             shape_text(rank, dims, held), model, shape_text(x->rank, x->dims, wanted))
                : reap_error(REAP_ERR_INPUT, "%s holds images of %s; %s takes %s", path, shape_text(rank, dims, held),
                             model, shape_text(x->rank, x->dims, wanted));
  if (x->dtype == REAP_I64 && !reap_dataset_is_raw(images, input))
    return reap_error(REAP_ERR_INPUT,
                      "%s takes whole numbers%s%s; store uint8 images with scale 1, mean 0 and std 1 (%s)", model,
                      name ? " for " : "", name ? name : "", path);
  return REAP_OK;
}

int reap_network_check_images(const reap_network *network, const reap_dataset *images) {
  const reap_graph *graph = network->graph;
  if (graph->n_inputs > 1 && !reap_dataset_input_name(images, 0))
    return reap_error(
        REAP_ERR_INPUT, "%s holds \"images\" alone; %s has %d inputs (%s, %s%s): store \"inputs/NAME\" for each",
        reap_dataset_path(images), reap_source_path(network->source), graph->n_inputs,
        graph->values[graph->inputs[0]].name, graph->values[graph->inputs[1]].name, graph->n_inputs > 2 ? ", ..." : "");
  for (int k = 0; k < graph->n_inputs; k++) REAP_TRY(check_input(network, &graph->values[graph->inputs[k]], images));
  return REAP_OK;
}
