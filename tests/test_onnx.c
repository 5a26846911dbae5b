/* onnx: what is read comes back unchanged; broken or hostile files are refused. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "io/onnx/onnx_message.h"
#include "io/onnx/source.h"
#include "onnx_builder.h"
#include "reap/memory.h"

const char *const test_suite_name = "onnx";

/* ------------------------------------------------------------------ committed models */

/* Calls `check` with each name of a folder's cases.txt and the words behind it. */
static void each_case(const char *folder, void (*check)(const char *path, char *words)) {
  char list[256], line[512], name[768];
  snprintf(list, sizeof list, "tests/references/%s/cases.txt", folder);
  FILE *file = fopen(test_source_path(list), "r");
  CU_ASSERT_PTR_NOT_NULL(file);
  while (file && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = '\0';
    char *words = line + strcspn(line, "\t");
    if (*words) *words++ = '\0';
    snprintf(name, sizeof name, "tests/references/%s/%s.onnx", folder, line);
    if (*line && *line != '#') check(test_source_path(name), words);
  }
  if (file) fclose(file);
}

/* Tensor data become raw_data and move in, unused nodes are left out; all else is written as it was read. */
static bool is_plain(const char *path) {
  bytes b = read_bytes(path);
  ReapOnnx__ModelProto *m = reap_onnx__model_proto__unpack(NULL, b.size, b.data);
  bool plain = m != NULL;
  for (size_t i = 0; m && i < m->graph->n_initializer; i++) {
    const ReapOnnx__TensorProto *t = m->graph->initializer[i];
    plain = plain && t->n_float_data == 0 && t->n_int64_data == 0 && t->n_external_data == 0;
  }
  for (size_t i = 0; m && i < m->graph->n_node; i++)
    for (size_t a = 0; a < m->graph->node[i]->n_attribute; a++) {
      const ReapOnnx__TensorProto *t = m->graph->node[i]->attribute[a]->t;
      plain = plain && (!t || (t->n_float_data == 0 && t->n_int64_data == 0 && t->n_external_data == 0));
    }
  if (m) reap_onnx__model_proto__free_unpacked(m, NULL);
  free(b.data);
  return plain;
}

static void comes_back(const char *path, char *words) {
  (void)words;
  reap_source *source = NULL;
  char *again = NULL, *twice = NULL;
  CHECK_OK(reap_strdup(&again, test_scratch_path("again.onnx")));
  CHECK_OK(reap_strdup(&twice, test_scratch_path("twice.onnx")));
  CHECK_OK(reap_source_load(path, &source));
  if (source) CHECK_OK(reap_source_write_onnx(source, again));
  bool whole = source && reap_source_unused_count(source) == 0;
  reap_source_destroy(&source);
  CHECK_OK(reap_source_load(again, &source));
  if (source) CHECK_OK(reap_source_write_onnx(source, twice));
  reap_source_destroy(&source);
  bool same = same_files(whole && is_plain(path) ? path : again, twice);
  if (!same) fprintf(stderr, "%s was changed by reading and writing it\n", path);
  CU_ASSERT_TRUE(same);
  reap_free(&again);
  reap_free(&twice);
}

static void models_come_back_unchanged(void) {
  each_case("kernels", comes_back);
  comes_back(test_source_path("datasets/fashion/vgg-fashion.onnx"), NULL);
  comes_back(test_source_path("datasets/fashion/resnet-fashion.onnx"), NULL);
}

static bool contains(const char *message, const char *word) {
  for (; *message; message++)
    if (strncasecmp(message, word, strlen(word)) == 0) return true;
  return false;
}

static void is_refused(const char *path, char *words) {
  int status = load_all(path);
  bool good = status == REAP_ERR_INPUT && !strchr(reap_error_message(), '\n');
  for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
    good = good && contains(reap_error_message(), word);
  if (!good) fprintf(stderr, "%s: status %d: %s\n", path, status, reap_error_message());
  CU_ASSERT_TRUE(good);
}

static void malformed_models_are_refused(void) { each_case("malformed", is_refused); }

/* Status of a model of that version whose node has, or whose input's shape has (deep), a field of that number. */
static int load_with_field(int64_t version, uint32_t number, bool deep) {
  uint8_t content[] = {1, 'a'};
  ProtobufCMessageUnknownField field = {number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, sizeof content, content};
  begin_model(version);
  add_weights("w", 2, SQUARE);
  ProtobufCMessage *part = &add_node("MatMul", "first", "x w", "y")->base;
  finish_model();
  if (deep) part = &inputs[0]->type->tensor_type->shape->base;
  part->n_unknown_fields = 1;
  part->unknown_fields = &field;
  return load_all(store_model("version.onnx"));
}

/* What a newer version of the format brings is in the way only where it is used, and may matter. */
static void newer_versions_are_read(void) {
  CHECK_OK(load_with_field(13, 77, false));
  CHECK_OK(load_with_field(14, 9, false)); /* metadata */
  CHECK_OK(load_with_field(1000, 10, false));
  CHECK_FAILS(load_with_field(14, 77, false), REAP_ERR_INPUT, "field 77 of NodeProto");
  CHECK_FAILS(load_with_field(14, 9, true), REAP_ERR_INPUT, "field 9 of TensorShapeProto");
}

/* ------------------------------------------------------------------ hostile files */

static void broken_files_do_no_harm(void) {
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_value_attribute(add_node("Constant", "c", "", "v"),
                      make_tensor("", REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 2, SQUARE));
  add_node("Gemm", "first", "x w", "h");
  add_node("MatMul", "second", "h v", "y");
  finish_model();
  bytes b = read_bytes(store_model("sound.onnx"));
  char *path = NULL;
  CHECK_OK(reap_strdup(&path, test_scratch_path("broken.onnx")));
  for (size_t i = 0; i < b.size; i++) {
    write_bytes(path, b.data, i);
    CU_ASSERT_EQUAL(load_all(path), REAP_ERR_INPUT);
    const uint8_t old = b.data[i], spoiled[4] = {0, 0xff, old ^ 0x80, old ^ 0x04};
    for (int k = 0; k < 4; k++) {
      b.data[i] = spoiled[k];
      write_bytes(path, b.data, b.size);
      int status = load_all(path); /* may still be a sound model: another name, other numbers */
      CU_ASSERT_TRUE(status == REAP_OK || status == REAP_ERR_INPUT || status == REAP_ERR_RESOURCE);
    }
    b.data[i] = old;
  }
  free(b.data);
  reap_free(&path);
}

/* Wraps `size` bytes at the end of a buffer of `room` into field `field`. */
static size_t wrap(uint8_t *buffer, size_t room, size_t size, unsigned field) {
  uint8_t head[8];
  size_t n = 0;
  head[n++] = (uint8_t)(field << 3 | 2);
  size_t left = size;
  for (; left > 127; left >>= 7) head[n++] = (uint8_t)(left | 0x80);
  head[n++] = (uint8_t)left;
  memcpy(buffer + room - size - n, head, n);
  return size + n;
}

/* A subgraph in a node in a subgraph ...: a reader that recurses blindly would run out of stack. */
static void deep_nesting_is_refused(void) {
  const size_t room = 1 << 20;
  uint8_t *buffer = malloc(room);
  size_t size = 0;
  for (int i = 0; i < 20000; i++) {
    size = wrap(buffer, room, size, 6); /* AttributeProto.g */
    size = wrap(buffer, room, size, 5); /* NodeProto.attribute */
    size = wrap(buffer, room, size, 1); /* GraphProto.node */
  }
  size = wrap(buffer, room, size, 7); /* ModelProto.graph */
  const char *path = test_scratch_path("deep.onnx");
  write_bytes(path, buffer + room - size, size);
  free(buffer);
  CHECK_FAILS(load_all(path), REAP_ERR_INPUT, "nested");
}

/* Reads the file as the program does, and whole: the same message, or the same error, and the hash of the file. */
static int compare_ways(const char *path) {
  ReapOnnx__ModelProto *whole = NULL, *parts = NULL;
  reap_hash *hash = NULL;
  uint8_t *packed[2] = {NULL, NULL};
  size_t sizes[2] = {0, 1};
  char text[512], digest[2][REAP_HASH_LENGTH];
  bytes b = read_bytes(path);
  const int fd = open(path, O_RDONLY), status = reap_onnx_unpack(b.data, b.size, &whole);
  snprintf(text, sizeof text, "%s", status == REAP_OK ? "" : reap_error_message());
  CU_ASSERT_EQUAL(reap_onnx_read(fd, (int64_t)b.size, &hash, &parts), status);
  close(fd);
  if (status == REAP_OK) {
    CHECK_OK(reap_hash_file(path, digest[0]));
    CHECK_OK(reap_hash_finish(&hash, digest[1]));
    CU_ASSERT_STRING_EQUAL(digest[0], digest[1]);
    CHECK_OK(reap_onnx_pack(whole, &packed[0], &sizes[0]));
    CHECK_OK(reap_onnx_pack(parts, &packed[1], &sizes[1]));
    CU_ASSERT_TRUE(sizes[0] == sizes[1] && memcmp(packed[0], packed[1], sizes[0]) == 0);
  } else {
    CU_ASSERT_STRING_EQUAL(reap_error_message(), text);
  }
  reap_free(&packed[0]);
  reap_free(&packed[1]);
  reap_hash_destroy(&hash);
  reap_onnx_free(&whole);
  reap_onnx_free(&parts);
  free(b.data);
  return status;
}

/* A sound model with tensors that are read straight from the file, and others. */
static const char *store_large(void) {
  static const int64_t large[] = {150, 120}, other[] = {130, 130};
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_weights("large", 2, large);
  add_weights("v", 2, SQUARE);
  add_weights("other", 2, other);
  add_node("MatMul", "first", "x w", "y");
  finish_model();
  return store_model("large.onnx");
}

static void large_tensors_are_read_as_others(void) {
  CU_ASSERT_EQUAL(compare_ways(store_large()), REAP_OK);
  bytes b = read_bytes(test_scratch_path("large.onnx"));
  const char *path = test_scratch_path("large-broken.onnx");
  int sound = 0, broken = 0;
  CU_ASSERT_TRUE_FATAL(b.size > 100000);
  for (size_t i = 0; i < b.size; i += i % 1024 < 8 || i < 600 || i + 300 > b.size ? 1 : 509) {
    write_bytes(path, b.data, i);
    broken += compare_ways(path) == REAP_ERR_INPUT;
    if (i > 600 && i + 300 < b.size) continue; /* numbers of a tensor, nearly all */
    const uint8_t old = b.data[i], spoiled[4] = {0, 0xff, old ^ 0x80, old ^ 0x04};
    for (int k = 0; k < 4; k++) {
      b.data[i] = spoiled[k];
      write_bytes(path, b.data, b.size);
      sound += compare_ways(path) == REAP_OK;
    }
    b.data[i] = old;
  }
  CU_ASSERT_TRUE(sound > 100 && broken > 100);
  free(b.data);
}

/* Short and long data in one tensor: the last count. */
static void tensors_with_data_twice(void) {
  static const int64_t lengths[] = {8, 70000};
  for (int k = 0; k < 4; k++) {
    const size_t room = 1 << 20, data[2] = {(size_t)lengths[k / 2], (size_t)lengths[k % 2]};
    uint8_t *buffer = calloc(room, 1);
    size_t size = 0;
    for (int i = 1; i >= 0; i--) { /* from the end: wrap() puts heads in front of what is there */
      const size_t before = size;
      memset(buffer + room - before - data[i], 7 + i, data[i]);
      size = before + wrap(buffer, room - before, data[i], 9);
    }
    buffer[room - size - 1] = 'w';
    size += wrap(buffer, room - size, 1, 8);
    size = wrap(buffer, room, size, 5);
    size = wrap(buffer, room, size, 7);
    const uint8_t head[] = {0x08, 8, 0x42, 2, 0x10, 13}; /* ir_version 8, opset 13 */
    memcpy(buffer + room - size - sizeof head, head, sizeof head);
    size += sizeof head;
    const char *path = test_scratch_path("data-twice.onnx");
    write_bytes(path, buffer + room - size, size);
    CHECK_OK(compare_ways(path));
    free(buffer);
  }
}

static void parts_that_appear_twice_are_refused(void) {
  begin_model(8);
  add_weights("w", 2, SQUARE);
  add_node("MatMul", "first", "x w", "y");
  finish_model();
  bytes b = read_bytes(store_model("once.onnx"));
  uint8_t *data = malloc(b.size + 2);
  memcpy(data, b.data, b.size);
  memcpy(data + b.size, "\x3a\x00", 2); /* a second graph, empty */
  const char *path = test_scratch_path("twice-graph.onnx");
  write_bytes(path, data, b.size + 2);
  CHECK_FAILS(load_all(path), REAP_ERR_INPUT, "appears twice");
  free(data);
  free(b.data);
}

static void missing_files_are_named(void) {
  reap_source *source = NULL;
  CHECK_FAILS(reap_source_load("/no/such/model.onnx", &source), REAP_ERR_INPUT, "/no/such/model.onnx: No such file");
  CHECK_FAILS(reap_source_load(test_scratch_path("."), &source), REAP_ERR_INPUT, "not a regular file");
  CU_ASSERT_PTR_NULL(source);
}

/* ------------------------------------------------------------------ external data */

static void make_external(const char *location, const char *offset) {
  const char *const keys[2] = {"location", "offset"}, *const values[2] = {location, offset};
  begin_model(8);
  ReapOnnx__TensorProto *w = add_weights("w", 2, SQUARE);
  w->has_raw_data = 0;
  w->has_data_location = 1;
  w->data_location = REAP_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  w->external_data = take(2 * sizeof *w->external_data);
  for (; w->n_external_data < 2; w->n_external_data++) {
    ReapOnnx__StringStringEntryProto *entry = w->external_data[w->n_external_data] = take(sizeof *entry);
    reap_onnx__string_string_entry_proto__init(entry);
    entry->key = text(keys[w->n_external_data]);
    entry->value = text(values[w->n_external_data]);
  }
  add_node("MatMul", "first", "x w", "y");
  finish_model();
}

static void external_data_move_in(void) {
  float values[20];
  for (int i = 0; i < 20; i++) values[i] = (float)i;
  mkdir(test_scratch_path("sub"), 0777);
  write_bytes(test_scratch_path("sub/weights.bin"), (const uint8_t *)values, sizeof values);
  make_external("sub/weights.bin", "16");
  reap_edits none = {0, 0, NULL};
  ReapOnnx__ModelProto *m = apply(&none);
  const ReapOnnx__TensorProto *w = find(m, "w");
  CU_ASSERT_EQUAL(first(w), 4);
  CU_ASSERT_TRUE(w && w->n_external_data == 0 && !w->has_data_location && w->raw_data.len == 64);
  CU_ASSERT_EQUAL(m->n_metadata_props, 0); /* nothing was edited */
  done(m);
  make_external("sub/weights.bin", "20");
  CHECK_FAILS(load_all(store_model("external.onnx")), REAP_ERR_INPUT, "the file ends at 80");
}

static void external_data_behind_links_are_refused(void) {
  char *target = NULL;
  CHECK_OK(reap_strdup(&target, test_scratch_path("target.bin")));
  float values[16] = {0};
  write_bytes(target, (const uint8_t *)values, sizeof values);
  const char *link = test_scratch_path("link.bin"), *folder = test_scratch_path("folder");
  unlink(link);
  unlink(folder);
  CU_ASSERT_EQUAL(symlink(target, link), 0);
  CU_ASSERT_EQUAL(symlink(".", folder), 0);
  make_external("link.bin", "0");
  CHECK_FAILS(load_all(store_model("external.onnx")), REAP_ERR_INPUT, "link");
  make_external("folder/target.bin", "0");
  CHECK_FAILS(load_all(store_model("external.onnx")), REAP_ERR_INPUT, "link");
  make_external("target.bin", "0");
  CHECK_OK(load_all(store_model("external.onnx")));
  reap_free(&target);
}

const test_case test_cases[] = {{"models_come_back_unchanged", models_come_back_unchanged},
                                {"malformed_models_are_refused", malformed_models_are_refused},
                                {"newer_versions_are_read", newer_versions_are_read},
                                {"broken_files_do_no_harm", broken_files_do_no_harm},
                                {"deep_nesting_is_refused", deep_nesting_is_refused},
                                {"large_tensors_are_read_as_others", large_tensors_are_read_as_others},
                                {"tensors_with_data_twice", tensors_with_data_twice},
                                {"parts_that_appear_twice_are_refused", parts_that_appear_twice_are_refused},
                                {"missing_files_are_named", missing_files_are_named},
                                {"external_data_move_in", external_data_move_in},
                                {"external_data_behind_links_are_refused", external_data_behind_links_are_refused},
                                {NULL, NULL}};
