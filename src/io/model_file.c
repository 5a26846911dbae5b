/* Writing a reap model file. */
#include "model_file.h"

#include <stdio.h>
#include <string.h>

#include "io/hdf5/hdf5_util.h"
#include "io/onnx/onnx_names.h"
#include "model_format.h"
#include "reap/error.h"
#include "reap/memory.h"

reap_model_form reap_model_tensor_form(const ReapOnnx__TensorProto *tensor) {
  int64_t bytes = 0;
  if (reap_onnx_tensor_bytes(tensor, &bytes) != REAP_OK) return REAP_MODEL_RAW;
  if (tensor->data_type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) return REAP_MODEL_FLOATS;
  return tensor->data_type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64 ? REAP_MODEL_INTEGERS : REAP_MODEL_RAW;
}

/* ------------------------------------------------------------------ names */

static int weight_names(const ReapOnnx__GraphProto *graph, size_t index, char **layer, char **input) {
  size_t node = 0, slot = 0;
  if (!reap_onnx_first_user(graph, graph->initializer[index]->name, &node, &slot)) {
    REAP_TRY(reap_strdup(layer, "unused"));
    return reap_format(input, "input%zu", index);
  }
  const ReapOnnx__NodeProto *user = graph->node[node];
  REAP_TRY(reap_onnx_layer_name(user, node, layer));
  const char *known = reap_onnx_input_name(reap_onnx_text(user->op_type), slot);
  return known ? reap_strdup(input, known) : reap_format(input, "input%zu", slot);
}

/* Nodes may share a name, and one may read a tensor twice: later ones get a number. */
static int make_unique(hid_t parent, char **name) {
  if (!reap_h5_has(parent, *name)) return REAP_OK;
  for (int n = 2;; n++) {
    char *candidate = NULL;
    REAP_TRY(reap_format(&candidate, "%s_%d", *name, n));
    if (!reap_h5_has(parent, candidate)) {
      reap_free(name);
      *name = candidate;
      return REAP_OK;
    }
    reap_free(&candidate);
  }
}

/* ------------------------------------------------------------------ weights */

static int write_tensor(hid_t layer, const char *name, const ReapOnnx__TensorProto *tensor) {
  reap_model_form form = reap_model_tensor_form(tensor);
  int64_t size[1] = {(int64_t)tensor->raw_data.len}, bytes = size[0];
  hid_t dataset = REAP_H5_NONE;
  if (form != REAP_MODEL_RAW) REAP_TRY(reap_onnx_tensor_bytes(tensor, &bytes));
  if (bytes != size[0])
    return reap_error(REAP_ERR_INPUT, "tensor \"%s\": its data do not fit its dimensions", tensor->name);
  hid_t type = form == REAP_MODEL_FLOATS ? H5T_NATIVE_FLOAT : H5T_NATIVE_INT64;
  if (form == REAP_MODEL_RAW)
    REAP_TRY(reap_h5_write(layer, name, H5T_NATIVE_UINT8, H5T_NATIVE_UINT8, 1, size, tensor->raw_data.data, &dataset));
  else
    REAP_TRY(
        reap_h5_write(layer, name, type, type, (int)tensor->n_dims, tensor->dims, tensor->raw_data.data, &dataset));
  int status = reap_h5_write_string(dataset, REAP_MODEL_NAME_ATTRIBUTE, tensor->name);
  if (status == REAP_OK && form == REAP_MODEL_RAW) status = reap_h5_write_integer(dataset, "raw", 1);
  if (!reap_h5_close(&dataset) && status == REAP_OK) status = reap_h5_error(layer, name);
  return status;
}

static int write_initializer(hid_t weights, const ReapOnnx__GraphProto *graph, size_t index) {
  char *layer = NULL, *input = NULL;
  hid_t group = REAP_H5_NONE;
  int status = weight_names(graph, index, &layer, &input);
  if (status == REAP_OK)
    status = reap_h5_has(weights, layer) ? reap_h5_open_group(weights, layer, &group)
                                         : reap_h5_create_group(weights, layer, &group);
  if (status == REAP_OK) status = make_unique(group, &input);
  if (status == REAP_OK) status = write_tensor(group, input, graph->initializer[index]);
  if (!reap_h5_close(&group) && status == REAP_OK) status = reap_h5_error(weights, "weights cannot be written");
  reap_free(&layer);
  reap_free(&input);
  return status;
}

static int write_weights(hid_t file, const ReapOnnx__GraphProto *graph) {
  hid_t weights = REAP_H5_NONE;
  REAP_TRY(reap_h5_create_group(file, "weights", &weights));
  int status = REAP_OK;
  for (size_t i = 0; status == REAP_OK && i < graph->n_initializer; i++)
    if (graph->initializer[i]->has_raw_data) status = write_initializer(weights, graph, i);
  reap_h5_close(&weights);
  return status;
}

/* ------------------------------------------------------------------ the message */

/* Takes the data of all initialisers out of the message for a while; `had` remembers which have any. */
static void hide_data(const ReapOnnx__GraphProto *graph, bool *had) {
  for (size_t i = 0; i < graph->n_initializer; i++) {
    had[i] = graph->initializer[i]->has_raw_data;
    graph->initializer[i]->has_raw_data = 0;
  }
}

static void show_data(const ReapOnnx__GraphProto *graph, const bool *had) {
  for (size_t i = 0; i < graph->n_initializer; i++) graph->initializer[i]->has_raw_data = had[i];
}

static int write_message(hid_t file, const ReapOnnx__ModelProto *model) {
  bool *had = NULL;
  uint8_t *data = NULL;
  size_t size = 0;
  REAP_TRY(reap_alloc(&had, (int64_t)model->graph->n_initializer, sizeof *had));
  hide_data(model->graph, had);
  int status = reap_onnx_pack(model, &data, &size);
  show_data(model->graph, had);
  const int64_t count = (int64_t)size;
  if (status == REAP_OK)
    status = reap_h5_write(file, "graph", H5T_NATIVE_UINT8, H5T_NATIVE_UINT8, 1, &count, data, NULL);
  reap_free(&data);
  reap_free(&had);
  return status;
}

/* ------------------------------------------------------------------ what was done */

static int write_group_data(hid_t group, const reap_group_record *record) {
  REAP_TRY(reap_h5_write_string(group, "layer", record->layer));
  REAP_TRY(reap_h5_write_integer(group, "channels", record->channels));
  REAP_TRY(reap_h5_write_vector(group, "removed", H5T_NATIVE_INT64, record->n_removed, record->removed));
  if (record->error)
    REAP_TRY(reap_h5_write_vector(group, "error", H5T_NATIVE_DOUBLE, record->n_removed, record->error));
  return reap_h5_write_vector(group, "kept", H5T_NATIVE_INT64, record->n_kept, record->kept);
}

static int write_group(hid_t groups, const reap_group_record *record) {
  char *name = NULL;
  hid_t group = REAP_H5_NONE;
  REAP_TRY(reap_strdup(&name, *record->group ? record->group : "group"));
  for (char *c = name; *c; c++)
    if (*c == '/') *c = '.';
  int status = make_unique(groups, &name);
  if (status == REAP_OK) status = reap_h5_create_group(groups, name, &group);
  if (status == REAP_OK) status = write_group_data(group, record);
  reap_h5_close(&group);
  reap_free(&name);
  return status;
}

static int write_record(hid_t file, const reap_model_record *record) {
  hid_t groups = REAP_H5_NONE, provenance = REAP_H5_NONE;
  int status = reap_h5_create_group(file, "groups", &groups);
  for (int i = 0; status == REAP_OK && i < record->n_groups; i++) status = write_group(groups, &record->groups[i]);
  if (status == REAP_OK) status = reap_h5_create_group(file, "provenance", &provenance);
  for (int i = 0; status == REAP_OK && i < record->n_provenance; i++)
    status = reap_h5_write_string(provenance, record->provenance[i].key, record->provenance[i].value);
  reap_h5_close(&provenance);
  reap_h5_close(&groups);
  return status;
}

typedef struct contents {
  const reap_source *source;
  const reap_model_record *record;
} contents;

static int fill(hid_t file, const void *context) {
  const contents *c = context;
  REAP_TRY(write_message(file, c->source->model));
  REAP_TRY(write_weights(file, c->source->model->graph));
  return write_record(file, c->record);
}

int reap_model_file_write(const reap_source *source, const reap_model_record *record, const char *path) {
  const contents c = {source, record};
  return reap_h5_write_file(path, REAP_MODEL_FORMAT, fill, &c);
}

void reap_hdf5_version(int version[3]) {
  unsigned v[3] = {0};
  H5get_libversion(&v[0], &v[1], &v[2]);
  for (int i = 0; i < 3; i++) version[i] = (int)v[i];
}
