/* base: errors, memory, random numbers, hashes. */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/name_table.h"
#include "base/random.h"
#include "base/text.h"
#include "harness.h"
#include "model/half.h"
#include "reap/log.h"
#include "reap/memory.h"

const char *const test_suite_name = "base";

static int failing(void) { return reap_error(REAP_ERR_INPUT, "file %s: truncated", "x.onnx"); }

static int propagating(void) {
  REAP_TRY(failing());
  return REAP_OK;
}

static void errors_carry_status_and_context(void) {
  CHECK_FAILS(propagating(), REAP_ERR_INPUT, "file x.onnx: truncated");
  CU_ASSERT_EQUAL(reap_error_prefix(REAP_ERR_INPUT, "layer %d", 3), REAP_ERR_INPUT);
  CU_ASSERT_STRING_EQUAL(reap_error_message(), "layer 3: file x.onnx: truncated");
  char longer[3 * REAP_ERROR_LENGTH];
  memset(longer, 'a', sizeof longer);
  longer[sizeof longer - 1] = '\0';
  reap_error(REAP_ERR_INPUT, "%s", longer);
  CU_ASSERT_EQUAL(strlen(reap_error_message()), REAP_ERROR_LENGTH - 1);
  CU_ASSERT_EQUAL(reap_error_prefix(REAP_ERR_INPUT, "layer %d", 4), REAP_ERR_INPUT);
  CU_ASSERT_EQUAL(strlen(reap_error_message()), REAP_ERROR_LENGTH - 1);
  CU_ASSERT_EQUAL(strncmp(reap_error_message(), "layer 4: aaa", 12), 0);
  reap_error(REAP_ERR_INPUT, "layer %s: cut short", longer); /* the reason outlasts any name */
  CU_ASSERT_EQUAL(reap_error_prefix(REAP_ERR_INPUT, "%s", longer), REAP_ERR_INPUT);
  CU_ASSERT_TRUE(strlen(reap_error_message()) < REAP_ERROR_LENGTH && strstr(reap_error_message(), ": cut short"));
}

/* The escaped form as it was, and back. */
static void escapes_to(const char *text, const char *wanted) {
  char escaped[256], back[256];
  reap_text_escape(text, escaped, sizeof escaped);
  CU_ASSERT_STRING_EQUAL(escaped, wanted);
  snprintf(back, sizeof back, "%s", escaped);
  reap_text_unescape(back);
  CU_ASSERT_STRING_EQUAL(back, text);
  CU_ASSERT_TRUE(reap_text_names(text, strlen(text), text));
  CU_ASSERT_TRUE(reap_text_names(escaped, strlen(escaped), text));
  CU_ASSERT_FALSE(reap_text_names(escaped, strlen(escaped) - 1, text));
}

static void names_are_shown_without_commands(void) {
  escapes_to("layer1.conv/\xc3\xa4 \xe6\xbc\xa2 \xf0\x9f\x98\x80",
             "layer1.conv/\xc3\xa4 \xe6\xbc\xa2 \xf0\x9f\x98\x80");
  escapes_to("a\x1b[31m\n\t\r\x7f", "a\\x1b[31m\\x0a\\x09\\x0d\\x7f");
  escapes_to(
      "\xc2\x9b"
      "31m",
      "\\xc2\\x9b31m");                                            /* C1 */
  escapes_to("\xff\xc3(\xe2\x82", "\\xff\\xc3(\\xe2\\x82");        /* not UTF-8 */
  escapes_to("\xc0\xaf\xed\xa0\x80", "\\xc0\\xaf\\xed\\xa0\\x80"); /* too long a form; a surrogate */
  escapes_to("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");          /* past the last character */
  escapes_to(
      "\xe2\x80\xae"
      "x\xe2\x81\xa6",
      "\\xe2\\x80\\xaex\\xe2\\x81\\xa6"); /* directions */
  escapes_to("\\ \\x \\xf \\xfg \\\\", "\\ \\x \\xf \\xfg \\\\");
  escapes_to("\\xff", "\\x5cxff"); /* not the same as the byte */
  char few[8];
  reap_text_escape("abc\x01z", few, sizeof few);
  CU_ASSERT_STRING_EQUAL(few, "abc\\x01");
  reap_text_escape("abcd\x01z", few, sizeof few);
  CU_ASSERT_STRING_EQUAL(few, "abcd"); /* no half of an escape */
}

static bool fits(const char *given, const char *name) { return reap_text_fits(given, strlen(given), name); }

static void patterns_fit_names(void) {
  CU_ASSERT_TRUE(fits("layer1*", "layer1") && fits("*/conv?", "a/b/conv2") && fits("[a-c]1", "b1"));
  CU_ASSERT_FALSE(fits("layer1", "layer10") || fits("conv?", "conv") || fits("[a-c]1", "d1") || fits("", "a"));
  CU_ASSERT_TRUE(fits("a[0]", "a[0]") && fits("a*b", "a*b"));        /* names themselves */
  CU_ASSERT_TRUE(fits("\\x1b*", "\x1b[0m") && fits("a\\*", "a\\b")); /* escaped as they are shown */
  CU_ASSERT_TRUE(reap_text_fits("ab*,c", 3, "abc"));
  CU_ASSERT_FALSE(reap_text_is_pattern("ab,*", 2));
}

/* What is printed, against a file. */
static void printing_keeps_line_ends_of_the_format_alone(void) {
  char text[9000], longer[2000];
  memset(longer, '\x01', sizeof longer);
  longer[sizeof longer - 1] = '\0';
  FILE *file = tmpfile();
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  reap_print(file, "\n\n%s|%d\n", "\na\033[2J\n", 7);
  reap_print(file, "\n");
  reap_print(file, "%s\n", longer);
  rewind(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  static const char start[] = "\n\n\\x0aa\\x1b[2J\\x0a|7\n\n\\x01\\x01";
  CU_ASSERT_EQUAL(strncmp(text, start, sizeof start - 1), 0);
  CU_ASSERT_EQUAL(strlen(text), sizeof start - 1 + 4 * (sizeof longer - 3) + 1);
}

static void system_errors_tell_what_ran_out(void) {
  static const struct {
    int reason, status;
  } cases[] = {{ENOENT, REAP_ERR_INPUT},    {EACCES, REAP_ERR_INPUT},    {EIO, REAP_ERR_INPUT},
               {ENOMEM, REAP_ERR_RESOURCE}, {ENOSPC, REAP_ERR_RESOURCE}, {EDQUOT, REAP_ERR_RESOURCE},
               {EMFILE, REAP_ERR_RESOURCE}};
  char wanted[256];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(wanted, sizeof wanted, "x.onnx: cannot be read: %s", strerror(cases[i].reason));
    errno = cases[i].reason;
    CU_ASSERT_EQUAL(reap_error_system("%s: cannot be read", "x.onnx"), cases[i].status);
    CU_ASSERT_STRING_EQUAL(reap_error_message(), wanted);
  }
}

static void memory_is_told(void) {
  const int64_t page = 4096;
  CU_ASSERT_TRUE(reap_memory_resident() >= page);
  CU_ASSERT_TRUE(reap_memory_peak_resident() >= reap_memory_resident() / 2);
  CU_ASSERT_TRUE(reap_memory_available() >= page);
  CHECK_OK(reap_memory_check("a library", page));
  CHECK_FAILS(reap_memory_check("a library", INT64_MAX / 2), REAP_ERR_RESOURCE, "a library needs");
}

static void sizes_are_checked(void) {
  int64_t product = 0;
  CHECK_FAILS(reap_multiply(INT64_MAX / 2, 3, &product), REAP_ERR_RESOURCE, "out of range");
  CHECK_FAILS(reap_multiply(-1, 3, &product), REAP_ERR_RESOURCE, "out of range");
  CHECK_OK(reap_multiply(INT64_MAX / 3, 3, &product));
  double *block = NULL;
  CHECK_FAILS(reap_alloc(&block, INT64_MAX / 4, sizeof *block), REAP_ERR_RESOURCE, "cannot be addressed");
  CU_ASSERT_PTR_NULL(block);
  CHECK_FAILS(reap_alloc(&block, -1, sizeof *block), REAP_ERR_INTERNAL, "negative");
}

static void memory_is_counted_and_aligned(void) {
  int64_t before = reap_memory_live_blocks(), bytes = reap_memory_live_bytes();
  double *a = NULL;
  CHECK_OK(reap_calloc(&a, 1000, sizeof *a));
  CU_ASSERT_EQUAL((uintptr_t)a % 64, 0);
  CU_ASSERT_EQUAL(a[999], 0.0);
  a[0] = 3;
  CU_ASSERT_EQUAL(reap_memory_live_bytes() - bytes, 8000);
  CHECK_OK(reap_grow(&a, 1000, 5000, sizeof *a));
  CU_ASSERT_EQUAL(a[0], 3.0);
  CU_ASSERT_EQUAL(reap_memory_live_blocks(), before + 1);
  reap_free(&a);
  CU_ASSERT_PTR_NULL(a);
  reap_free(&a);
  CU_ASSERT_EQUAL(reap_memory_live_blocks(), before);
}

static void shared_blocks_live_until_the_last_owner_goes(void) {
  const int64_t blocks = reap_memory_live_blocks();
  double *a = NULL, *b = NULL;
  CHECK_OK(reap_alloc(&a, 100, sizeof *a));
  for (int i = 0; i < 100; i++) a[i] = i;
  b = reap_share(a);
  CU_ASSERT_PTR_EQUAL(a, b);
  CU_ASSERT_EQUAL(reap_memory_live_blocks(), blocks + 1);
  CHECK_OK(reap_own(&b, 100, sizeof *b)); /* a copy: there is another owner */
  CU_ASSERT_PTR_NOT_EQUAL(a, b);
  CU_ASSERT_EQUAL(memcmp(a, b, 100 * sizeof *a), 0);
  double *own = a;
  CHECK_OK(reap_own(&a, 100, sizeof *a)); /* none any more */
  CU_ASSERT_PTR_EQUAL(a, own);
  reap_free(&b);
  b = reap_share(a);
  reap_free(&a);
  CU_ASSERT_PTR_NULL(a);
  CU_ASSERT_EQUAL(b[99], 99);
  CU_ASSERT_EQUAL(reap_memory_live_blocks(), blocks + 1);
  reap_free(&b);
  CU_ASSERT_EQUAL(reap_memory_live_blocks(), blocks);
  CU_ASSERT_PTR_NULL(reap_share(NULL));
}

static void short_blocks_are_aligned_for_any_type(void) {
  const int64_t before = reap_memory_live_blocks(), bytes = reap_memory_live_bytes();
  void *blocks[70] = {NULL};
  for (int n = 0; n < 70; n++) {
    CHECK_OK(reap_alloc(&blocks[n], n, 1));
    memset(blocks[n], n, (size_t)n);
    CU_ASSERT_EQUAL((uintptr_t)blocks[n] % (n < 64 ? _Alignof(max_align_t) : 64), 0);
  }
  CU_ASSERT_EQUAL(reap_memory_live_bytes() - bytes, 69 * 70 / 2);
  for (int n = 0; n < 70; n++) reap_free(&blocks[n]);
  CU_ASSERT_EQUAL(reap_memory_live_blocks(), before);
  CU_ASSERT_EQUAL(reap_memory_live_bytes(), bytes);
}

/* Against a search through the list, the last entry of a name counting. */
static void a_table_finds_what_a_search_would(void) {
  enum { N = 3000 };
  static char names[N][16];
  reap_name_table *table = NULL;
  CU_ASSERT_EQUAL(reap_name_table_find(NULL, "a"), -1);
  CHECK_OK(reap_name_table_create(&table));
  CU_ASSERT_EQUAL(reap_name_table_find(table, ""), -1);
  for (int i = 0; i < N; i++) {
    snprintf(names[i], sizeof names[i], "%s%d", i % 2 ? "" : "layer", i * 7 % 1000);
    CHECK_OK(reap_name_table_set(table, names[i], i));
  }
  int wrong = 0;
  for (int i = 0; i < N; i++) {
    int last = N - 1;
    while (strcmp(names[last], names[i]) != 0) last--;
    wrong += reap_name_table_find(table, names[i]) != last;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  char *gone = NULL;
  CHECK_OK(reap_strdup(&gone, "a name that is given back before the table"));
  CHECK_OK(reap_name_table_set(table, gone, N));
  CU_ASSERT_EQUAL(reap_name_table_find(table, "layer"), -1);
  CU_ASSERT_EQUAL(reap_name_table_find(table, ""), -1);
  reap_free(&gone);
  reap_name_table_destroy(&table);
  reap_name_table_destroy(&table);
}

static void random_samples_are_distinct_and_even(void) {
  int64_t hits[20] = {0}, draw[7];
  for (int64_t i = 0; i < 4000; i++) {
    reap_random r = reap_random_init(1, 2, (uint64_t)i);
    reap_random_sample(&r, 20, 7, draw);
    for (int k = 0; k < 7; k++) {
      CU_ASSERT_TRUE(draw[k] >= 0 && draw[k] < 20 && (k == 0 || draw[k] > draw[k - 1]));
      hits[draw[k]]++;
    }
  }
  /* Binomial with mean 1400 and deviation 30: five deviations. */
  for (int k = 0; k < 20; k++) CHECK_NEAR(hits[k], 1400, 150);
  reap_random all = reap_random_init(9, 9, 9);
  int64_t every[5];
  reap_random_sample(&all, 5, 5, every);
  for (int k = 0; k < 5; k++) CU_ASSERT_EQUAL(every[k], k);
}

static void normal_numbers_have_their_moments(void) {
  reap_random r = reap_random_init(5, 0, 0);
  double sum = 0, square = 0;
  for (int i = 0; i < 100000; i++) {
    double x = reap_random_normal(&r);
    sum += x;
    square += x * x;
  }
  CHECK_NEAR(sum / 1e5, 0, 0.02);
  CHECK_NEAR(square / 1e5, 1, 0.03);
}

static void hashes_match_sha256sum(void) {
  const char *path = test_scratch_path("abc.txt");
  FILE *file = fopen(path, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  fputs("abc", file);
  fclose(file);
  char digest[REAP_HASH_LENGTH];
  CHECK_OK(reap_hash_file(path, digest));
  /* FIPS 180-4's own example. */
  CU_ASSERT_STRING_EQUAL(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_FAILS(reap_hash_file(test_scratch_path("absent"), digest), REAP_ERR_INPUT, "absent");
}

static void halves_are_converted(void) {
  static const struct {
    float value;
    uint16_t float16, bfloat16;
  } exact[] = {{0, 0, 0},
               {-0.0f, 0x8000, 0x8000},
               {1, 0x3c00, 0x3f80},
               {-2, 0xc000, 0xc000},
               {0.5f, 0x3800, 0x3f00},
               {65504, 0x7bff, 0x4780},
               {0x1p-14f, 0x0400, 0x3880},
               {0x1p-24f, 0x0001, 0x3380},
               {0x1.ff8p-15f, 0x03ff, 0x3880},
               {(float)INFINITY, 0x7c00, 0x7f80}};
  for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
    CU_ASSERT_EQUAL(reap_to_float16(exact[i].value), exact[i].float16);
    CU_ASSERT_EQUAL(reap_from_float16(exact[i].float16), exact[i].value);
    CU_ASSERT_EQUAL(reap_to_bfloat16(exact[i].value), exact[i].bfloat16);
  }
  /* What is read and written again is the same, subnormal numbers and infinities included. */
  for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
    float x = reap_from_float16((uint16_t)bits), y = reap_from_bfloat16((uint16_t)bits);
    if (isnan(x) ? !isnan(reap_from_float16(reap_to_float16(x))) : reap_to_float16(x) != bits)
      CU_FAIL("float16 does not come back");
    if (isnan(y) ? !isnan(reap_from_bfloat16(reap_to_bfloat16(y))) : reap_to_bfloat16(y) != bits)
      CU_FAIL("bfloat16 does not come back");
  }
  /* Half way between two goes to the even one, all else to the nearer one. */
  for (uint32_t bits = 0; bits < 0x7bff; bits++) {
    float low = reap_from_float16((uint16_t)bits), high = reap_from_float16((uint16_t)(bits + 1));
    float middle = low + (high - low) / 2;
    if (reap_to_float16(middle) != bits + bits % 2 || reap_to_float16(-nextafterf(middle, 0)) != (bits | 0x8000) ||
        reap_to_float16(nextafterf(middle, high)) != bits + 1)
      CU_FAIL("float16 is not rounded to nearest even");
  }
  for (uint32_t bits = 0; bits < 0x7f7f; bits++) {
    float low = reap_from_bfloat16((uint16_t)bits), high = reap_from_bfloat16((uint16_t)(bits + 1));
    float middle = low + (high - low) / 2;
    if (reap_to_bfloat16(middle) != bits + bits % 2 || reap_to_bfloat16(nextafterf(middle, high)) != bits + 1)
      CU_FAIL("bfloat16 is not rounded to nearest even");
  }
  CU_ASSERT_EQUAL(reap_to_float16(65519.99f), 0x7bff);
  CU_ASSERT_EQUAL(reap_to_float16(65520), 0x7c00);
  CU_ASSERT_EQUAL(reap_to_float16(-1e30f), 0xfc00);
  CU_ASSERT_EQUAL(reap_to_bfloat16(3.4e38f), 0x7f80);
  CU_ASSERT_EQUAL(reap_round_to(1.0f / 3, REAP_FLOAT32), 1.0f / 3);
  CU_ASSERT_EQUAL(reap_round_to(1.0f / 3, REAP_FLOAT16), 0x1.554p-2f);
  CU_ASSERT_EQUAL(reap_round_to(1.0f / 3, REAP_BFLOAT16), 0x1.56p-2f);
}

typedef struct heard {
  int count;
  reap_log_level level;
  char text[64];
} heard;

static void hear(void *context, reap_log_level level, const char *message) {
  heard *h = context;
  h->count++;
  h->level = level;
  snprintf(h->text, sizeof h->text, "%s", message);
}

static void messages_go_where_a_program_wants_them(void) {
  heard h = {0};
  FILE *file = tmpfile();
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  const int standard_error = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  reap_log_set_level(REAP_LOG_WARNING);
  reap_log_set_sink(hear, &h);
  reap_log(REAP_LOG_INFO, "not %s", "heard");
  reap_log(REAP_LOG_WARNING, "heard %d", 1);
  reap_log_set_sink(NULL, NULL);
  CU_ASSERT_EQUAL(lseek(STDERR_FILENO, 0, SEEK_CUR), 0);
  reap_log(REAP_LOG_WARNING, "printed");
  CU_ASSERT_EQUAL(lseek(STDERR_FILENO, 0, SEEK_CUR), (off_t)strlen("reap: warning: printed\n"));
  dup2(standard_error, STDERR_FILENO);
  close(standard_error);
  fclose(file);
  CU_ASSERT_EQUAL(h.count, 1);
  CU_ASSERT_EQUAL(h.level, REAP_LOG_WARNING);
  CU_ASSERT_STRING_EQUAL(h.text, "heard 1");
}

const test_case test_cases[] = {
    {"errors_carry_status_and_context", errors_carry_status_and_context},
    {"system_errors_tell_what_ran_out", system_errors_tell_what_ran_out},
    {"memory_is_told", memory_is_told},
    {"sizes_are_checked", sizes_are_checked},
    {"memory_is_counted_and_aligned", memory_is_counted_and_aligned},
    {"names_are_shown_without_commands", names_are_shown_without_commands},
    {"patterns_fit_names", patterns_fit_names},
    {"printing_keeps_line_ends_of_the_format_alone", printing_keeps_line_ends_of_the_format_alone},
    {"shared_blocks_live_until_the_last_owner_goes", shared_blocks_live_until_the_last_owner_goes},
    {"short_blocks_are_aligned_for_any_type", short_blocks_are_aligned_for_any_type},
    {"a_table_finds_what_a_search_would", a_table_finds_what_a_search_would},
    {"random_samples_are_distinct_and_even", random_samples_are_distinct_and_even},
    {"normal_numbers_have_their_moments", normal_numbers_have_their_moments},
    {"hashes_match_sha256sum", hashes_match_sha256sum},
    {"halves_are_converted", halves_are_converted},
    {"messages_go_where_a_program_wants_them", messages_go_where_a_program_wants_them},
    {NULL, NULL}};
