#include "reap/network.h"
#include "model/tensor.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "io/onnx/source.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

/* A graph prepared for `batch` images; NULL on failure. *mixes: it failed as the network computes across images. */
static int prepared(const reap_source *source, int64_t batch, reap_graph **out, bool *mixes) {
  REAP_TRY(reap_source_graph(source, out));
  int status = reap_error_prefix(reap_graph_prepare(*out, batch), "%s", reap_source_path(source));
  *mixes = (*out)->mixes;
  if (status != REAP_OK) reap_graph_destroy(out);
  return status;
}

/* The batch that the first input is fixed to in the file; 0 if it is free. */
static int fixed_batch(const reap_source *source, int64_t *batch) {
  reap_graph *graph = NULL;
  REAP_TRY(reap_source_graph(source, &graph));
  *batch =
      graph->n_inputs > 0 && graph->values[graph->inputs[0]].rank > 0 ? graph->values[graph->inputs[0]].dims[0] : 0;
  if (*batch < 0) *batch = 0;
  reap_graph_destroy(&graph);
  return REAP_OK;
}

static int load(const char *path, reap_network *out) {
  int64_t fixed = 0;
  bool mixes = false;
  REAP_TRY(reap_source_load(path, &out->source));
  REAP_TRY(fixed_batch(out->source, &fixed));
  REAP_TRY(prepared(out->source, fixed > 0 ? fixed : 1, &out->graph, &mixes));
  if (out->graph->n_inputs != 1)
    return reap_error(REAP_ERR_INPUT, "%s: the network has %d inputs; one is supported", path, out->graph->n_inputs);
  int64_t block = reap_graph_block_size(out->graph);
  if (block == out->graph->batch && block > 1) return REAP_OK;
  reap_graph *larger = NULL;
  const int status = prepared(out->source, block > 1 ? block : 2, &larger, &mixes); /* one image has none to meet */
  /* The batch may be written into the network (a Reshape to [1, ...], say), or images may not stay one behind the
   * other: then what the file says stays, or one image. */
  if (status == REAP_ERR_INPUT && !mixes) return REAP_OK;
  REAP_TRY(status);
  reap_graph_destroy(block > 1 ? &out->graph : &larger);
  if (block > 1) out->graph = larger;
  return REAP_OK;
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
  memset(out, 0, sizeof *out);
  int status = load(path, out);
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
  REAP_TRY(prepared(network->source, batch, &graph, &mixes));
  reap_graph_destroy(&network->graph);
  network->graph = graph;
  return REAP_OK;
}

static int say(reap_graph *graph, const char *name, int length, const char *kind, int kind_length) {
  static const char *const kinds[] = {"", "scores", "values"};
  int found = 0, said = 0;
  for (int i = 1; i < 3; i++)
    if ((int)strlen(kinds[i]) == kind_length && strncmp(kinds[i], kind, (size_t)kind_length) == 0) said = i;
  if (said == 0)
    return reap_error(REAP_ERR_USAGE, "the kind of output \"%.*s\" is scores or values, not \"%.*s\"", length, name,
                      kind_length, kind);
  for (int k = 0; k < graph->n_outputs; k++) {
    reap_value *y = &graph->values[graph->outputs[k]];
    if (!reap_text_names(name, (size_t)length, y->name)) continue;
    if (said == REAP_OUTPUT_IS_SCORES && (y->rank != 2 || reap_value_count(y) / y->dims[0] < 2))
      return reap_error(REAP_ERR_USAGE, "output \"%.*s\" cannot be scores: its shape is not [N, classes]", length,
                        name);
    y->said = (reap_output_said)said;
    found = 1;
  }
  if (found) return REAP_OK;
  return reap_error(REAP_ERR_USAGE, "\"%.*s\" is given a kind, and is no output of this network", length, name);
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

int reap_network_check_images(const reap_network *network, const reap_dataset *images) {
  const reap_value *x = &network->graph->values[network->graph->inputs[0]];
  int64_t count, channels, height, width;
  reap_dataset_shape(images, &count, &channels, &height, &width);
  const int64_t dims[] = {network->graph->batch, channels, height, width};
  if (reap_same_dims(x->rank, x->dims, 4, dims)) return REAP_OK;
  char wanted[128] = "";
  for (int i = 1; i < x->rank; i++) {
    size_t used = strlen(wanted);
    snprintf(wanted + used, sizeof wanted - used, "%s%lld", i > 1 ? " x " : "", (long long)x->dims[i]);
  }
  return reap_error(REAP_ERR_INPUT, "%s holds images of %lld x %lld x %lld (channels, height, width); %s takes %s",
                    reap_dataset_path(images), (long long)channels, (long long)height, (long long)width,
                    reap_source_path(network->source), wanted);
}
