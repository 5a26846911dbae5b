/* hdf5_headers: the checks of HDF5 object headers, on bytes laid out here as the format's specification (versions 1 to
 * 3) has them. A message of every kind and version is sound as it is, and refused when any number of bytes is cut off
 * its end: whatever length it holds is then too large. */
#include <fcntl.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "io/hdf5/hdf5_header.h"
#include "io/hdf5/hdf5_messages.h"

const char *const test_suite_name = "hdf5_headers";

/* ------------------------------------------------------------------ bytes */

typedef struct bytes {
  unsigned char at[1024];
  size_t count;
} bytes;

static void put(bytes *b, uint64_t value, int width) {
  for (int i = 0; i < width; i++, value >>= 8) b->at[b->count++] = (unsigned char)value;
}

/* Words: hexadecimal bytes ("0a"), zeros ("*12"), text ("'abc", a zero behind it). */
static void put_words(bytes *b, const char *words) {
  char copy[512], *rest = NULL;
  snprintf(copy, sizeof copy, "%s", words);
  for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    if (*word == '*') {
      for (long n = strtol(word + 1, NULL, 10); n > 0; n--) put(b, 0, 1);
    } else if (*word == '\'') {
      for (const char *c = word + 1; *c; c++) put(b, (unsigned char)*c, 1);
      put(b, 0, 1);
    } else {
      put(b, strtoul(word, NULL, 16), 1);
    }
  }
}

/* ------------------------------------------------------------------ messages */

#define INT4 "10 *3 04 *3 *2 20 00 " /* a type: an integer of 4 bytes */
#define TEXT1 "13 *3 01 *3 "         /* a character */

typedef struct message {
  int kind, flags;
  const char *words, *refusal;
} message;

static const message messages[] = {
    {0x01, 0, "01 02 01 *5 05 *7 06 *7 05 *7 06 *7", "the shape is longer"},
    {0x01, 0, "02 02 00 01 05 *7 06 *7", "the shape is longer"},
    {0x03, 0, INT4, "the type is longer"},
    {0x03, 0, "11 *3 04 *3 *12", "the type is longer"},
    {0x03, 0, "12 *3 04 *3 *2", "the type is longer"},
    {0x03, 0, TEXT1, "the type is longer"},
    {0x03, 0, "14 *3 02 *3 *4", "the type is longer"},
    {0x03, 0, "15 08 *2 05 *3 'opaque! ", "the type is longer"},
    {0x03, 0, "16 02 *2 08 *3 'a *6 *4 *28 " INT4 "'b *6 04 *3 *28 " INT4, "the type is longer"},
    {0x03, 0, "26 01 *2 04 *3 'ab *5 *4 " INT4, "the type is longer"},
    {0x03, 0, "36 01 *2 04 *3 'ab 00 " INT4, "the type is longer"},
    {0x03, 0, "36 01 *2 00 03 *2 'ab 00 00 " INT4, "the type is longer"},
    {0x03, 0, "18 02 *2 04 *3 " INT4 "'no *5 'yes *4 *8", "the type is longer"},
    {0x03, 0, "38 02 *2 04 *3 " INT4 "'no 'yes *8", "the type is longer"},
    {0x03, 0, "19 01 *2 10 *3 " TEXT1, "the type is longer"},
    {0x03, 0, "2a *3 0c *3 01 *3 03 *3 *4 " INT4, "the type is longer"},
    {0x03, 0, "3a *3 0c *3 01 03 *3 " INT4, "the type is longer"},
    {0x04, 0, "04 *3 *4", "the fill value is longer"},
    {0x05, 0, "02 02 02 01 04 *3 *4", "the fill value is longer"},
    {0x05, 0, "03 2a 04 *3 *4", "the fill value is longer"},
    {0x06, 0, "01 1c 00 *8 01 03 61 62 63 *8", "a link is longer"},
    {0x06, 0, "01 09 01 02 00 61 62 03 00 78 79 7a", "a link is longer"},
    {0x07, 0, "01 *3 02 00 02 00 *8 *48", "the list of files is longer"},
    {0x08, 0, "01 02 01 *5 *8 *8", "the layout is longer"},
    {0x08, 0, "02 02 00 *5 *8 04 *3 *4", "the layout is longer"},
    {0x08, 0, "03 00 04 00 *4", "the layout is longer"},
    {0x08, 0, "03 01 *16", "the layout is longer"},
    {0x08, 0, "03 02 03 *8 *12", "the layout is longer"},
    {0x08, 0, "04 02 02 02 04 *8 01 *12 *8", "the layout is longer"},
    {0x08, 0, "04 02 00 02 02 *4 02 *8", "the layout is longer"},
    {0x08, 0, "04 02 00 02 01 *2 03 *1 *8", "the layout is longer"},
    {0x08, 0, "04 02 00 02 01 *2 04 *5 *8", "the layout is longer"},
    {0x08, 0, "04 02 00 02 01 *2 05 *6 *8", "the layout is longer"},
    {0x08, 0, "04 03 *12", "the layout is longer"},
    {0x0B, 0, "01 02 *6 01 00 08 00 *2 01 00 'deflate *8 02 00 *6", "filter"},
    {0x0B, 0, "02 02 02 00 *2 01 00 *4 00 7d 05 00 *2 01 00 'mine *4", "filter"},
    {0x0C, 0, "01 00 05 00 0c 00 10 00 'mean *3 " INT4 "*4 01 01 00 *5 02 *7 *8", ""},
    {0x0C, 0, "02 00 05 00 0c 00 10 00 'mean " INT4 "01 01 00 *5 02 *7 *8", ""},
    {0x0C, 0, "03 00 05 00 0c 00 0c 00 01 'mean " INT4 "02 01 00 01 02 *7 *8", ""},
    {0x0C, 0, "03 00 05 00 0c 00 04 00 01 'mean " INT4 "02 00 00 00 *4", ""},
    {0x02, 0, "00 03 *8 *8 *16", "links or attributes"},
    {0x02, 0, "00 00 *16", "links or attributes"},
    {0x0A, 0, "00 03 *4 *4", "links or attributes"},
    {0x11, 0, "*16", "links or attributes"},
    {0x15, 0, "00 03 *2 *8 *16", "links or attributes"},
    {0x03, 2, "01 00 *6 *8 30 *7", "a reference to a message"},
    {0x03, 2, "02 00 30 *7", "a reference to a message"},
    {0x03, 2, "03 02 30 *7", "a reference to a message"},
    {0x03, 2, "03 01 *8", "a reference to a message"}};

static const char *check(const message *m, const bytes *b, size_t count, message_facts *facts) {
  /* in memory of its own, so that sanitizers see what is read behind it */
  unsigned char *copy = malloc(count + (count == 0));
  memcpy(copy, b->at, count);
  const char *refusal =
      reap_message_check(m->kind, m->flags, (message_bytes){copy, copy + count, {8, 8}, false}, facts);
  free(copy);
  return refusal;
}

static void messages_are_held_to_their_length(void) {
  for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
    bytes b = {{0}, 0};
    message_facts facts;
    put_words(&b, messages[i].words);
    const char *refusal = check(&messages[i], &b, b.count, &facts);
    if (refusal) fprintf(stderr, "message %zu, kind %d: %s\n", i, messages[i].kind, refusal);
    CU_ASSERT_PTR_NULL(refusal);
    for (size_t count = 0; count < b.count; count++) {
      refusal = check(&messages[i], &b, count, &facts);
      if (!refusal || !strstr(refusal, messages[i].refusal))
        fprintf(stderr, "message %zu, kind %d, %zu of %zu bytes: %s\n", i, messages[i].kind, count, b.count,
                refusal ? refusal : "sound");
      CU_ASSERT_TRUE(refusal && strstr(refusal, messages[i].refusal));
    }
  }
}

/* Numbers that no length of the message limits. */
static void messages_that_are_too_much_are_refused(void) {
  static const message much[] = {
      {0x01, 0, "02 21 00 01 *264", "more than 32 dimensions"},
      {0x03, 0, "3a *3 0c *3 21 *132 " INT4, "the type is longer"},
      {0x03, 0, "19 01 *2 0c *3 " TEXT1, "the type is longer"}, /* of another size than a reference has */
      {0x0B, 0, "02 21 *400", "too many filters"},
      {0x0B, 0, "02 01 00 7d 04 00 *2 00 00 61 62 63 64", "name does not end"},
      {0x0C, 0, "03 00 04 00 0c 00 04 00 01 61 62 63 64 " INT4 "02 00 00 00 *4", "name does not end"},
      {0x0C, 0, "09 00 05 00 0c 00 04 00 01 'mean " INT4 "02 00 00 00 *4", "unknown version"},
      {0x0C, 0, "03 00 05 00 08 00 04 00 01 'mean " INT4 "02 00 00 00 *4", "its type is longer"},
      {0x0C, 0, "03 00 05 00 0c 00 04 00 01 'mean " INT4 "02 01 00 01 02 *7 *8", "its shape is longer"},
      {0x0C, 0, "03 00 05 00 0c 00 0c 00 01 'mean " INT4 "02 01 00 01 03 *7 *8", "its values are longer"},
      {0x0C, 0, "03 00 05 00 0c 00 14 00 01 'mean " INT4 "02 02 00 01 *7 80 *7 80 *8", "its values are longer"}};
  for (size_t i = 0; i < sizeof much / sizeof much[0]; i++) {
    bytes b = {{0}, 0};
    message_facts facts;
    put_words(&b, much[i].words);
    const char *refusal = check(&much[i], &b, b.count, &facts);
    if (!refusal || !strstr(refusal, much[i].refusal))
      fprintf(stderr, "%zu, kind %d: %s\n", i, much[i].kind, refusal ? refusal : "sound");
    CU_ASSERT_TRUE(refusal && strstr(refusal, much[i].refusal));
  }
  bytes deep = {{0}, 0};
  for (int i = 0; i < 31; i++) put_words(&deep, "19 00 *2 10 *3");
  put_words(&deep, TEXT1);
  const message type = {0x03, 0, "", ""};
  message_facts facts;
  CU_ASSERT_PTR_NULL(check(&type, &deep, deep.count, &facts));
  bytes deeper = {{0}, 0};
  put_words(&deeper, "19 00 *2 10 *3");
  memcpy(deeper.at + deeper.count, deep.at, deep.count);
  CU_ASSERT_PTR_NOT_NULL(check(&type, &deeper, deeper.count + deep.count, &facts));
}

static void facts_of_attributes_are_told(void) {
  const message m = {0x0C, 0, "03 00 05 00 0c 00 14 00 01 'mean " INT4 "02 02 00 01 02 *7 03 *7 *24", ""};
  bytes b = {{0}, 0};
  message_facts facts;
  put_words(&b, m.words);
  CU_ASSERT_PTR_NULL(reap_message_check(m.kind, 0, (message_bytes){b.at, b.at + b.count, {8, 8}, false}, &facts));
  CU_ASSERT_TRUE(facts.elements == 6 && facts.element == 4 && facts.room == 24 && facts.shared == 0);
  CU_ASSERT_STRING_EQUAL(facts.attribute, "mean");
}

/* ------------------------------------------------------------------ files */

enum { ROOT = 96, SECOND = 320, THIRD = 448, END = 576 };

static const uint64_t NONE = UINT64_MAX;

/* A file of END bytes behind a user's block, its head of that version. */
static void put_head(bytes *f, int version, uint64_t extension, int address_width) {
  memset(f, 0, sizeof *f);
  memcpy(f->at, "\211HDF\r\n\032\n", 8);
  f->count = 8;
  put(f, (uint64_t)version, 1);
  if (version < 2) put(f, 0, 4);
  put(f, (uint64_t)address_width, 1);
  put(f, 8, 1);
  put(f, 0, version < 2 ? 1 + 2 + 2 + 4 : 1);
  put(f, 0, 8);
  put(f, extension, 8);
  put(f, END, 8);
  if (version < 2) put(f, NONE, 8), put(f, 0, 8);
  put(f, ROOT, 8);
}

/* Begins a header of so many bytes of messages, or what continues one; ends with the place of the first message. */
static void put_header(bytes *f, size_t at, int version, uint64_t size) {
  f->count = at;
  if (version == 1) {
    put(f, 1, 4), put(f, 1, 4), put(f, size, 8);
  } else {
    put_words(f, "4f 48 44 52 02 00");
    put(f, size, 1);
  }
}

static void put_message(bytes *f, int version, int kind, const char *words, uint64_t size) {
  put(f, (uint64_t)kind, version == 1 ? 2 : 1);
  put(f, size, 2);
  put(f, 0, version == 1 ? 4 : 1);
  put_words(f, words);
}

/* A message of 16 bytes that names a further part. */
static void put_continuation(bytes *f, int version, uint64_t at, uint64_t size) {
  put_message(f, version, MESSAGE_CONTINUATION, "", 16);
  put(f, at, 8), put(f, size, 8);
}

static void check_file(const bytes *f, size_t block, const char *refusal) {
  const char *path = test_own_path("header.h5");
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CU_ASSERT_TRUE_FATAL(fd >= 0);
  CU_ASSERT_EQUAL(pwrite(fd, f->at, END, (off_t)block), END);
  if (refusal)
    CHECK_FAILS(reap_h5_check_root(fd), REAP_ERR_INPUT, refusal);
  else
    CHECK_OK(reap_h5_check_root(fd));
  close(fd);
}

/* Head of a message, the message of a continuation, and what goes around the bytes of a part. */
static uint64_t head_of(int version) { return version == 1 ? 8 : 4; }
static uint64_t around(int version) { return version == 1 ? 0 : 8; }

/* A header with a continuation at SECOND, which holds a type, of which `type_bytes` are said to be there. */
static void put_continued(bytes *f, int version, uint64_t type_bytes) {
  put_head(f, version == 1 ? 0 : 2, NONE, 8);
  put_header(f, ROOT, version, head_of(version) + 16);
  put_continuation(f, version, SECOND, head_of(version) + 12 + around(version));
  f->count = SECOND + (version == 1 ? 0 : 4);
  put_message(f, version, MESSAGE_TYPE, INT4, type_bytes);
}

static void continuations_are_followed(void) {
  for (int version = 1; version <= 2; version++) {
    bytes f;
    put_continued(&f, version, 12);
    check_file(&f, 0, NULL);
    check_file(&f, 512, NULL);
    put_continued(&f, version, 11);
    check_file(&f, 0, "header at byte 96 is damaged: the type is longer than the message");
    check_file(&f, 512, "header at byte 608 is damaged: the type is longer than the message");
    put_continued(&f, version, 13);
    check_file(&f, 0, "a message is longer than its part of the header");
  }
}

static void continuations_have_a_place(void) {
  for (int version = 1; version <= 2; version++) {
    const struct {
      uint64_t at, size;
      const char *refusal;
    } parts[] = {{NONE, 40, "has no place or size"},         {0, 40, "has no place or size"},
                 {SECOND, 0, "has no place or size"},        {SECOND, END, "lies outside the file"},
                 {END + 8, 40, "lies outside the file"},     {NONE - 16, 40, "lies outside the file"},
                 {SECOND, NONE - 8, "lies outside the file"}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
      bytes f;
      put_continued(&f, version, 12);
      put_header(&f, ROOT, version, head_of(version) + 16);
      put_continuation(&f, version, parts[i].at, parts[i].size);
      check_file(&f, 0, parts[i].refusal);
    }
  }
  bytes f; /* a part that has nothing but what goes around it */
  put_continued(&f, 2, 12);
  put_header(&f, ROOT, 2, head_of(2) + 16);
  put_continuation(&f, 2, SECOND, 8);
  check_file(&f, 0, "has no place or size");
}

/* A part that names itself, and two that name each other. */
static void circles_of_continuations_end(void) {
  for (int version = 1; version <= 2; version++) {
    const uint64_t size = head_of(version) + 16 + around(version);
    bytes f;
    put_continued(&f, version, 12);
    put_header(&f, ROOT, version, head_of(version) + 16);
    put_continuation(&f, version, SECOND, size);
    f.count = SECOND + (version == 1 ? 0 : 4);
    put_continuation(&f, version, SECOND, size);
    check_file(&f, 0, "its parts overlap");
    f.count = SECOND + (version == 1 ? 0 : 4);
    put_continuation(&f, version, THIRD, size);
    f.count = THIRD + (version == 1 ? 0 : 4);
    put_continuation(&f, version, SECOND, size);
    check_file(&f, 0, "its parts overlap");
  }
}

/* Times, numbers of attributes, orders of creation and wide sizes move what stands behind them. */
static void heads_of_version_2_have_their_forms(void) {
  for (uint64_t flags = 0; flags < 64; flags++) {
    if (flags & 8) continue;
    for (int sound = 0; sound < 2; sound++) {
      const uint64_t head = flags & 4 ? 6 : 4;
      bytes f;
      put_head(&f, 3, NONE, 8);
      f.count = ROOT;
      put_words(&f, "4f 48 44 52 02");
      put(&f, flags, 1);
      put(&f, UINT64_MAX, flags & 0x20 ? 8 : 0), put(&f, UINT64_MAX, flags & 0x20 ? 8 : 0);
      put(&f, UINT32_MAX, flags & 0x10 ? 4 : 0);
      put(&f, head + 12, 1 << (flags & 3));
      put(&f, MESSAGE_TYPE, 1), put(&f, sound ? 12 : 11, 2), put(&f, 0xffff00, flags & 4 ? 3 : 1);
      put_words(&f, INT4);
      check_file(&f, 0, sound ? NULL : "the type is longer than the message");
    }
  }
}

static void heads_are_checked(void) {
  bytes f;
  put_continued(&f, 1, 12);
  f.at[13] = 3;
  check_file(&f, 0, "its head is damaged: addresses of 3 bytes and lengths of 8");
  put_continued(&f, 1, 12);
  f.at[ROOT] = 7;
  check_file(&f, 0, "it does not begin as one");
  put_continued(&f, 2, 12);
  memset(f.at + 36, 0xff, 7); /* the root's place */
  check_file(&f, 0, "it lies outside the file");
  for (int sound = 0; sound < 2; sound++) { /* a header of its own for what extends the head */
    put_continued(&f, 2, 12);
    bytes head;
    put_head(&head, 2, THIRD, 8);
    memcpy(f.at, head.at, ROOT);
    put_header(&f, THIRD, 2, 4 + 12);
    put_message(&f, 2, MESSAGE_TYPE, INT4, sound ? 12 : 10);
    check_file(&f, 0, sound ? NULL : "header at byte 448 is damaged: the type is longer");
  }
}

/* An attribute of `count` elements of a type that another object has, with room for 6 of them. */
static void types_of_other_objects_count(void) {
  for (int count = 6; count <= 7; count++) {
    bytes f;
    put_head(&f, 2, NONE, 8);
    put_header(&f, ROOT, 2, 4 + 61);
    put_message(&f, 2, 0x0C, "03 01 05 00 0a 00 0c 00 01 'mean 03 02", 61);
    put(&f, SECOND, 8);
    put_words(&f, "02 01 00 01");
    put(&f, (uint64_t)count, 8);
    put_words(&f, "*24");
    put_header(&f, SECOND, 2, 4 + 12);
    put_message(&f, 2, MESSAGE_TYPE, INT4, 12);
    check_file(&f, 0, count == 6 ? NULL : "attribute \"mean\": its values are longer than the message");
    f.at[SECOND] = 'X';
    check_file(&f, 0, "header at byte 320 is damaged: it does not begin as one");
  }
}

/* ------------------------------------------------------------------ files of the library's */

static void put_attribute(hid_t object, const char *name, hid_t type, hid_t space) {
  H5Aclose(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
}

static hid_t put_set(hid_t file, const char *name, H5D_layout_t layout, int filters) {
  const hsize_t dims[2] = {40, 6}, most[2] = {H5S_UNLIMITED, 6}, chunk[2] = {8, 6};
  hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, dims, layout == H5D_CHUNKED ? most : NULL);
  const double value = 1;
  H5Pset_layout(list, layout);
  if (layout == H5D_CHUNKED) H5Pset_chunk(list, 2, chunk);
  if (filters > 0) H5Pset_shuffle(list);
  if (filters > 1) H5Pset_deflate(list, 3), H5Pset_fletcher32(list);
  H5Pset_fill_value(list, H5T_NATIVE_DOUBLE, &value);
  hid_t set = H5Dcreate2(file, name, H5T_IEEE_F64LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
  H5Pclose(list);
  H5Sclose(space);
  return set;
}

static void put_types(hid_t object) {
  const hsize_t dims[1] = {3};
  hid_t space = H5Screate_simple(1, dims, NULL), none = H5Screate(H5S_NULL), one = H5Screate(H5S_SCALAR);
  hid_t text = H5Tcopy(H5T_C_S1), pair = H5Tcreate(H5T_COMPOUND, 300), choice = H5Tenum_create(H5T_STD_I16LE);
  hid_t list = H5Tvlen_create(H5T_STD_I8BE), grid = H5Tarray_create2(H5T_IEEE_F32LE, 1, dims);
  hid_t tagged = H5Tcreate(H5T_OPAQUE, 5);
  const short values[] = {0, 1};
  H5Tset_size(text, H5T_VARIABLE);
  H5Tinsert(pair, "first", 0, H5T_STD_I32LE), H5Tinsert(pair, "second", 270, grid);
  H5Tenum_insert(choice, "no", &values[0]), H5Tenum_insert(choice, "yes", &values[1]);
  H5Tset_tag(tagged, "tag");
  const hid_t types[] = {text, pair, choice, list, grid, tagged, H5T_STD_B8LE, H5T_STD_REF_OBJ};
  const char *const names[] = {"text", "pair", "choice", "list", "grid", "tagged", "bits", "reference"};
  for (int i = 0; i < 8; i++) put_attribute(object, names[i], types[i], i % 3 == 0 ? space : i % 3 == 1 ? one : none);
  for (int i = 0; i < 6; i++) H5Tclose(types[i]);
  H5Sclose(space), H5Sclose(none), H5Sclose(one);
}

static void check_object(int fd, hid_t object) {
  H5O_info_t about;
  CU_ASSERT_TRUE(H5Oget_info1(object, &about) >= 0);
  CHECK_OK(reap_h5_check_header(fd, about.addr));
}

/* Whatever the library writes, by old or new rules, is sound. */
static void headers_of_the_library_are_sound(void) {
  for (int latest = 0; latest < 2; latest++) {
    const char *path = test_own_path("library.h5");
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (latest) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    hid_t objects[] = {H5Gcreate2(file, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                       put_set(file, "compact", H5D_COMPACT, 0),
                       put_set(file, "whole", H5D_CONTIGUOUS, 0),
                       put_set(file, "chunks", H5D_CHUNKED, 0),
                       put_set(file, "packed", H5D_CHUNKED, 2),
                       put_set(file, "shuffled", H5D_CHUNKED, 1)};
    enum { OBJECTS = sizeof objects / sizeof objects[0] };
    H5Lcreate_soft("/whole", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/x", file, "external", H5P_DEFAULT, H5P_DEFAULT);
    put_types(file);
    for (int i = 0; i < OBJECTS; i++) put_types(objects[i]);
    H5Fflush(file, H5F_SCOPE_GLOBAL);
    const int fd = open(path, O_RDONLY);
    CHECK_OK(reap_h5_check_root(fd));
    for (int i = 0; i < OBJECTS; i++) check_object(fd, objects[i]);
    close(fd);
    for (int i = 0; i < OBJECTS; i++) H5Oclose(objects[i]);
    H5Fclose(file);
    H5Pclose(access);
  }
}

const test_case test_cases[] = {{"messages_are_held_to_their_length", messages_are_held_to_their_length},
                                {"messages_that_are_too_much_are_refused", messages_that_are_too_much_are_refused},
                                {"facts_of_attributes_are_told", facts_of_attributes_are_told},
                                {"continuations_are_followed", continuations_are_followed},
                                {"continuations_have_a_place", continuations_have_a_place},
                                {"circles_of_continuations_end", circles_of_continuations_end},
                                {"heads_of_version_2_have_their_forms", heads_of_version_2_have_their_forms},
                                {"heads_are_checked", heads_are_checked},
                                {"types_of_other_objects_count", types_of_other_objects_count},
                                {"headers_of_the_library_are_sound", headers_of_the_library_are_sound},
                                {NULL, NULL}};
