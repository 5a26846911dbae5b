/* TensorProto and reap_tensor. */
#include <math.h>
#include <string.h>

#include "model/half.h"
#include "model/tensor.h"
#include "onnx_message.h"
#include "reap/error.h"
#include "reap/memory.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "raw_data of ONNX is little endian; bytes would have to be swapped on this machine"
#endif

/* Float64 constants up to this count are taken as float32: they are factors and epsilons, not weights. */
enum { MAX_DOUBLES = 64 };

enum { TYPES = 24 };
static const struct {
  const char *name;
  int bytes; /* 0: no fixed size */
} types[TYPES] = {{"undefined", 0},      {"float32", 4},  {"uint8", 1},        {"int8", 1},           {"uint16", 2},
                  {"int16", 2},          {"int32", 4},    {"int64", 8},        {"string", 0},         {"bool", 1},
                  {"float16", 2},        {"float64", 8},  {"uint32", 4},       {"uint64", 8},         {"complex64", 8},
                  {"complex128", 16},    {"bfloat16", 2}, {"float8e4m3fn", 1}, {"float8e4m3fnuz", 1}, {"float8e5m2", 1},
                  {"float8e5m2fnuz", 1}, {"uint4", 0},    {"int4", 0},         {"float4e2m1", 0}};

const char *reap_onnx_type_name(int32_t type) { return type >= 0 && type < TYPES ? types[type].name : "unknown"; }

bool reap_onnx_is_half(int32_t type) {
  return type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 || type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
}

static int check_shape(const ReapOnnx__TensorProto *proto, int64_t *count) {
  if (proto->n_dims > REAP_MAX_RANK)
    return reap_error(REAP_ERR_INPUT, "it has %zu dimensions; at most %d are supported", proto->n_dims, REAP_MAX_RANK);
  for (size_t i = 0; i < proto->n_dims; i++)
    if (proto->dims[i] < 0) return reap_error(REAP_ERR_INPUT, "it has a negative dimension");
  if (reap_product(proto->dims, (int)proto->n_dims, count) != REAP_OK)
    return reap_error(REAP_ERR_INPUT, "its dimensions are out of range");
  return REAP_OK;
}

int reap_onnx_tensor_bytes(const ReapOnnx__TensorProto *proto, int64_t *bytes) {
  int64_t count = 0;
  REAP_TRY(check_shape(proto, &count));
  int32_t type = proto->has_data_type ? proto->data_type : 0;
  if (type < 0 || type >= TYPES || types[type].bytes == 0)
    return reap_error(REAP_ERR_INPUT, "its element type (%s) is not supported", reap_onnx_type_name(type));
  if (reap_multiply(count, types[type].bytes, bytes) != REAP_OK)
    return reap_error(REAP_ERR_INPUT, "its dimensions are out of range");
  return REAP_OK;
}

static bool is_raw(const ReapOnnx__TensorProto *proto) {
  bool typed =
      proto->n_float_data || proto->n_int32_data || proto->n_int64_data || proto->n_double_data || proto->n_uint64_data;
  return proto->has_raw_data && (proto->raw_data.len > 0 || !typed);
}

/* Elements in the form the tensor has them. */
static int64_t stored_count(const ReapOnnx__TensorProto *proto) {
  if (is_raw(proto)) {
    size_t width = (size_t)types[proto->data_type].bytes;
    return proto->raw_data.len % width == 0 ? (int64_t)(proto->raw_data.len / width) : -1;
  }
  switch (proto->data_type) {
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
      return (int64_t)proto->n_float_data;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
      return (int64_t)proto->n_double_data;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
      return (int64_t)proto->n_int64_data;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
      return (int64_t)proto->n_uint64_data;
    default:
      return (int64_t)proto->n_int32_data;
  }
}

static void copy_raw(const ReapOnnx__TensorProto *proto, int64_t i, void *to, size_t width) {
  memcpy(to, proto->raw_data.data + (size_t)i * width, width); /* raw_data need not be aligned */
}

static double read_double(const ReapOnnx__TensorProto *proto, int64_t i) {
  double value;
  if (!is_raw(proto)) return proto->double_data[i];
  copy_raw(proto, i, &value, sizeof value);
  return value;
}

/* float16 and bfloat16; outside raw_data each is the low half of an int32. */
static float read_half(const ReapOnnx__TensorProto *proto, int64_t i) {
  uint16_t bits;
  if (is_raw(proto))
    copy_raw(proto, i, &bits, sizeof bits);
  else
    bits = (uint16_t)((uint32_t)proto->int32_data[i] & 0xffffu);
  return proto->data_type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ? reap_from_float16(bits)
                                                                         : reap_from_bfloat16(bits);
}

static int64_t read_raw_integer(const ReapOnnx__TensorProto *proto, int64_t i) {
  union {
    int8_t i8;
    uint8_t u8;
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    int64_t i64;
  } value = {0};
  copy_raw(proto, i, &value, (size_t)types[proto->data_type].bytes);
  switch (proto->data_type) {
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
      return value.i8;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
      return value.u8;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
      return value.u8 != 0;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
      return value.i16;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT16:
      return value.u16;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
      return value.i32;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
      return value.u32;
    default:
      return value.i64;
  }
}

static int64_t read_integer(const ReapOnnx__TensorProto *proto, int64_t i) {
  if (is_raw(proto)) return read_raw_integer(proto, i);
  switch (proto->data_type) {
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
      return proto->int64_data[i];
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
      return (int64_t)proto->uint64_data[i];
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
      return proto->int32_data[i] != 0;
    default:
      return proto->int32_data[i];
  }
}

static int check_type(const ReapOnnx__TensorProto *proto, int64_t count, reap_dtype *dtype) {
  int32_t type = proto->has_data_type ? proto->data_type : 0;
  *dtype = REAP_I64;
  switch (type) {
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
      *dtype = REAP_F32;
      return REAP_OK;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
      *dtype = REAP_F32;
      if (count <= MAX_DOUBLES) return REAP_OK;
      break;
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT16:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
      return REAP_OK;
    default:
      break;
  }
  return reap_error(REAP_ERR_INPUT, "its element type, %s, is not supported; convert the model to float32",
                    reap_onnx_type_name(type));
}

static int check_tensor(const ReapOnnx__TensorProto *proto, reap_dtype *dtype) {
  int64_t count = 0;
  REAP_TRY(check_shape(proto, &count));
  REAP_TRY(check_type(proto, count, dtype));
  if (proto->segment) return reap_error(REAP_ERR_INPUT, "it is stored in segments; export the model again");
  if (proto->has_data_location && proto->data_location == REAP_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return reap_error(REAP_ERR_INPUT, "its external data were not loaded; store them in the model");
  int64_t stored = stored_count(proto);
  if (stored < 0) return reap_error(REAP_ERR_INPUT, "its data end within an element; export or copy the model again");
  if (stored != count)
    return reap_error(REAP_ERR_INPUT, "it has data for %lld elements, but dimensions for %lld", (long long)stored,
                      (long long)count);
  return REAP_OK;
}

int reap_onnx_read_tensor(const ReapOnnx__TensorProto *proto, const char *name, reap_tensor **out) {
  reap_dtype dtype;
  int status = check_tensor(proto, &dtype);
  if (status != REAP_OK) return reap_error_prefix(status, "tensor \"%s\"", name);
  const bool floats = proto->data_type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, raw = is_raw(proto);
  if (floats && raw && proto->raw_data.len > 0) /* a block of reap_alloc(), as all of the message's are */
    return reap_tensor_of((int)proto->n_dims, proto->dims, (float *)(void *)proto->raw_data.data, out);
  reap_tensor *tensor = NULL;
  REAP_TRY(reap_tensor_create(dtype, (int)proto->n_dims, proto->dims, &tensor));
  if (tensor->count == 0) {
    /* nothing to copy, and no data to copy from */
  } else if (floats) {
    memcpy(tensor->f32, proto->float_data, (size_t)tensor->count * sizeof(float));
  } else if (reap_onnx_is_half(proto->data_type)) {
    tensor->precision = proto->data_type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ? REAP_FLOAT16 : REAP_BFLOAT16;
    for (int64_t i = 0; i < tensor->count; i++) tensor->f32[i] = read_half(proto, i);
  } else if (dtype == REAP_F32) {
    for (int64_t i = 0; i < tensor->count; i++) tensor->f32[i] = (float)read_double(proto, i);
  } else {
    for (int64_t i = 0; i < tensor->count; i++) tensor->i64[i] = read_integer(proto, i);
  }
  *out = tensor;
  return REAP_OK;
}

/* The array becomes the bytes of raw_data as it is: little endian, same element size. */
static void move_to_raw(ReapOnnx__TensorProto *proto, void *data, size_t count, size_t width) {
  uint8_t *old = proto->raw_data.data;
  if (proto->has_raw_data) reap_free(&old);
  proto->raw_data.data = data;
  proto->raw_data.len = count * width;
  proto->has_raw_data = 1;
}

void reap_onnx_normalise(ReapOnnx__TensorProto *proto) {
  if (is_raw(proto) || !proto->has_data_type) return;
  if (proto->data_type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && proto->n_float_data) {
    move_to_raw(proto, proto->float_data, proto->n_float_data, sizeof(float));
    proto->float_data = NULL;
    proto->n_float_data = 0;
  } else if (proto->data_type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64 && proto->n_int64_data) {
    move_to_raw(proto, proto->int64_data, proto->n_int64_data, sizeof(int64_t));
    proto->int64_data = NULL;
    proto->n_int64_data = 0;
  }
}

static int fill_tensor(ReapOnnx__TensorProto *proto, const reap_tensor *tensor, const char *name) {
  void *data = tensor->dtype == REAP_F32 ? (void *)tensor->f32 : (void *)tensor->i64;
  size_t width = tensor->dtype == REAP_F32 ? sizeof(float) : sizeof(int64_t);
  REAP_TRY(reap_strdup(&proto->name, name));
  if (tensor->rank > 0) {
    REAP_TRY(reap_alloc(&proto->dims, tensor->rank, sizeof *proto->dims));
    memcpy(proto->dims, tensor->dims, (size_t)tensor->rank * sizeof *proto->dims);
    proto->n_dims = (size_t)tensor->rank;
  }
  proto->raw_data.data = reap_share(data);
  proto->raw_data.len = (size_t)tensor->count * width;
  proto->has_raw_data = 1;
  return REAP_OK;
}

int reap_onnx_make_tensor(const reap_tensor *tensor, const char *name, ReapOnnx__TensorProto **out) {
  ReapOnnx__TensorProto *proto = NULL;
  REAP_TRY(reap_alloc(&proto, 1, sizeof *proto));
  reap_onnx__tensor_proto__init(proto);
  proto->has_data_type = 1;
  proto->data_type =
      tensor->dtype == REAP_F32 ? REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT : REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
  int status = fill_tensor(proto, tensor, name);
  if (status != REAP_OK) {
    reap_onnx_free_part(&proto->base);
    return status;
  }
  *out = proto;
  return REAP_OK;
}

int reap_onnx_to_half(ReapOnnx__TensorProto *proto, int32_t type) {
  if (!reap_onnx_is_half(type) || proto->data_type != REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) return REAP_OK;
  size_t count = proto->raw_data.len / sizeof(float);
  REAP_TRY(reap_own(&proto->raw_data.data, (int64_t)proto->raw_data.len, 1));
  for (size_t i = 0; i < count; i++) { /* in place: never ahead of what is still to be read */
    float value;
    memcpy(&value, proto->raw_data.data + i * sizeof value, sizeof value);
    bool is_16 = type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
    uint16_t bits = is_16 ? reap_to_float16(value) : reap_to_bfloat16(value);
    if (isfinite(value) && !isfinite(is_16 ? reap_from_float16(bits) : reap_from_bfloat16(bits)))
      return reap_error(REAP_ERR_NUMERIC,
                        "%g does not fit its type, %s; raise the ridge, or prune the network in float32", (double)value,
                        reap_onnx_type_name(type));
    memcpy(proto->raw_data.data + i * sizeof bits, &bits, sizeof bits);
  }
  proto->raw_data.len = count * sizeof(uint16_t);
  proto->data_type = type;
  return REAP_OK;
}
