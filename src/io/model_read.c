/* Reading a reap model file: the message from `graph`, the data of its initialisers from `weights`. */
#include <string.h>

#include "io/hdf5/hdf5_util.h"
#include "io/onnx/onnx_names.h"
#include "model_format.h"
#include "reap/error.h"
#include "reap/memory.h"

static int read_message(hid_t file, ReapOnnx__ModelProto **model) {
  hid_t dataset = REAP_H5_NONE;
  int64_t size[1] = {0};
  uint8_t *data = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_h5_open_dataset(file, "graph", &dataset));
  REAP_TRY_OR(reap_h5_shape(dataset, "graph", 1, 1, NULL, size), done);
  if (size[0] > REAP_ONNX_MAX_BYTES) {
    status = reap_h5_refuse(dataset, "\"graph\" is larger than an ONNX message can be");
    goto done;
  }
  REAP_TRY_OR(reap_h5_check_stored(dataset, "graph", H5T_INTEGER), done);
  REAP_TRY_OR(reap_alloc(&data, size[0], 1), done);
  REAP_TRY_OR(reap_h5_read(dataset, "graph", H5T_NATIVE_UINT8, data), done);
  status = reap_onnx_unpack(data, (size_t)size[0], model);
  if (status == REAP_ERR_INPUT) status = reap_h5_refuse(dataset, "\"graph\": %s", reap_error_message());
done:
  reap_free(&data);
  reap_h5_close(&dataset);
  return status;
}

/* Checks the data set against what the message says of the tensor. `bytes`: what raw_data gets. */
static int check_weights(hid_t layer, const char *name, const ReapOnnx__TensorProto *tensor, hid_t *dataset,
                         int64_t *bytes) {
  reap_model_form form = reap_model_tensor_form(tensor);
  if (form == REAP_MODEL_RAW) {
    REAP_TRY(reap_h5_open_dataset(layer, name, dataset));
    REAP_TRY(reap_h5_shape(*dataset, name, 1, 1, NULL, bytes));
    return reap_h5_check_stored(*dataset, name, H5T_INTEGER);
  }
  H5T_class_t type_class = form == REAP_MODEL_FLOATS ? H5T_FLOAT : H5T_INTEGER;
  REAP_TRY(reap_onnx_tensor_bytes(tensor, bytes));
  return reap_h5_expect(layer, name, type_class, (int)tensor->n_dims, tensor->dims, dataset);
}

static hid_t memory_type(reap_model_form form) {
  if (form == REAP_MODEL_FLOATS) return H5T_NATIVE_FLOAT;
  return form == REAP_MODEL_INTEGERS ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT8;
}

static int read_weights(hid_t layer, const char *name, const ReapOnnx__GraphProto *graph) {
  hid_t dataset = REAP_H5_NONE;
  char *tensor_name = NULL;
  int64_t bytes = 0;
  uint8_t *data = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_h5_open_dataset(layer, name, &dataset));
  status = reap_h5_read_string(dataset, REAP_MODEL_NAME_ATTRIBUTE, &tensor_name);
  reap_h5_close(&dataset);
  if (status != REAP_OK) return status;
  int64_t index = reap_onnx_find_initializer(graph, tensor_name);
  ReapOnnx__TensorProto *tensor = index < 0 ? NULL : graph->initializer[index];
  if (!tensor || tensor->has_raw_data) {
    status = reap_h5_refuse(layer, "\"%s\" belongs to tensor \"%s\", which %s", name, tensor_name,
                            tensor ? "has data already" : "the graph does not have");
    goto done;
  }
  REAP_TRY_OR(check_weights(layer, name, tensor, &dataset, &bytes), done);
  REAP_TRY_OR(reap_alloc(&data, bytes, 1), done);
  REAP_TRY_OR(reap_h5_read(dataset, name, memory_type(reap_model_tensor_form(tensor)), data), done);
  tensor->has_raw_data = 1;
  tensor->raw_data.data = data;
  tensor->raw_data.len = (size_t)bytes;
  data = NULL;
done:
  reap_free(&data);
  reap_free(&tensor_name);
  reap_h5_close(&dataset);
  return status;
}

static int read_layer(hid_t weights, const char *name, const ReapOnnx__GraphProto *graph) {
  hid_t layer = REAP_H5_NONE;
  int64_t count = 0;
  char **names = NULL;
  REAP_TRY(reap_h5_open_group(weights, name, &layer));
  int status = reap_h5_list(layer, &count, &names);
  for (int64_t i = 0; status == REAP_OK && i < count; i++) status = read_weights(layer, names[i], graph);
  reap_h5_free_names(count, &names);
  reap_h5_close(&layer);
  return status;
}

static int read_all_weights(hid_t file, const ReapOnnx__GraphProto *graph) {
  hid_t weights = REAP_H5_NONE;
  int64_t count = 0;
  char **names = NULL;
  REAP_TRY(reap_h5_open_group(file, "weights", &weights));
  int status = reap_h5_list(weights, &count, &names);
  for (int64_t i = 0; status == REAP_OK && i < count; i++) status = read_layer(weights, names[i], graph);
  reap_h5_free_names(count, &names);
  reap_h5_close(&weights);
  return status;
}

int reap_model_source_load(reap_source *source) {
  REAP_TRY(reap_hash_file(source->path, source->hash));
  hid_t file = REAP_H5_NONE;
  REAP_TRY(reap_h5_open(source->path, &file));
  int status = reap_h5_check_format(file, REAP_MODEL_FORMAT);
  if (status == REAP_OK) status = read_message(file, &source->model);
  if (status == REAP_OK) status = read_all_weights(file, source->model->graph);
  reap_h5_close(&file);
  return status;
}
