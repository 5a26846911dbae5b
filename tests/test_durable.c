/* durable: files that appear whole or not at all, the names that they are written under, what killed runs leave, and
 * what outputs may replace. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "io/files/durable.h"
#include "reap/memory.h"

const char *const test_suite_name = "durable";

enum { NAME = 1200 };

/* A name of this rank alone, in `path`, with nothing there. */
static void own_path(const char *name, char path[NAME]) {
  snprintf(path, NAME, "%s", test_own_path(name));
  unlink(path);
}

static bool exists(const char *path) {
  struct stat about;
  return lstat(path, &about) == 0;
}

static bool is_link(const char *path) {
  struct stat about;
  return lstat(path, &about) == 0 && S_ISLNK(about.st_mode);
}

static void put_text(const char *path, const char *text) {
  FILE *file = fopen(path, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  fputs(text, file);
  fclose(file);
}

static bool has_text(const char *path, const char *text) {
  char found[64] = "";
  FILE *file = fopen(path, "rb");
  if (!file) return false;
  size_t n = fread(found, 1, sizeof found - 1, file);
  fclose(file);
  return strlen(text) == n && memcmp(found, text, n) == 0;
}

static void files_appear_when_committed(void) {
  const char *path = test_own_path("durable");
  char *temporary = NULL;
  put_text(path, "old");
  CHECK_OK(reap_durable_begin(path, &temporary));
  put_text(temporary, "new");
  CU_ASSERT_TRUE(has_text(path, "old"));
  CHECK_OK(reap_durable_commit(&temporary, path));
  CU_ASSERT_PTR_NULL(temporary);
  CU_ASSERT_TRUE(has_text(path, "new"));
  CU_ASSERT_FALSE(test_left_behind(path));
}

static void abandoned_files_leave_nothing(void) {
  const char *path = test_own_path("abandoned");
  char *temporary = NULL;
  put_text(path, "old");
  CHECK_OK(reap_durable_begin(path, &temporary));
  put_text(temporary, "new");
  reap_durable_abandon(&temporary);
  CU_ASSERT_PTR_NULL(temporary);
  CU_ASSERT_TRUE(has_text(path, "old"));
  CU_ASSERT_FALSE(test_left_behind(path));
  reap_durable_abandon(&temporary);
}

static void places_that_cannot_be_written_are_named(void) {
  char *temporary = NULL;
  CHECK_FAILS(reap_durable_begin("/no/such/folder/out.h5", &temporary), REAP_ERR_INPUT, "/no/such/folder");
  CHECK_FAILS(reap_durable_begin(test_scratch_path("."), &temporary), REAP_ERR_INPUT, "is a folder");
  CHECK_FAILS(reap_durable_begin("", &temporary), REAP_ERR_INPUT, "empty name");
  const char *path = test_own_path("no-folder");
  put_text(path, "");
  char below[1100];
  snprintf(below, sizeof below, "%s/out.h5", path);
  CHECK_FAILS(reap_durable_begin(below, &temporary), REAP_ERR_INPUT, "not a folder");
  if (geteuid() != 0) CHECK_FAILS(reap_durable_begin("/out.h5", &temporary), REAP_ERR_INPUT, "/out.h5");
  CU_ASSERT_PTR_NULL(temporary);
}

static void system_errors_have_their_status(void) {
  errno = ENOSPC;
  CHECK_FAILS(reap_durable_error("x.h5", "cannot be written"), REAP_ERR_RESOURCE, "x.h5: cannot be written: No space");
  errno = EACCES;
  CHECK_FAILS(reap_durable_error("x.h5", "cannot be written"), REAP_ERR_INPUT, "Permission denied");
}

/* Somebody who foresees a temporary name cannot lead the file elsewhere. */
static void temporary_names_follow_no_link(void) {
  char path[NAME], victim[NAME], name[NAME], *temporary = NULL;
  own_path("leftover", path);
  own_path("victim", victim);
  CHECK_OK(reap_durable_begin(path, &temporary));
  snprintf(name, sizeof name, "%s", temporary);
  reap_durable_abandon(&temporary);
  CU_ASSERT_FALSE(exists(name));
  put_text(victim, "precious");
  CU_ASSERT_EQUAL(symlink(victim, name), 0);
  CHECK_OK(reap_durable_begin(path, &temporary));
  CU_ASSERT_STRING_EQUAL(temporary, name);
  put_text(temporary, "new");
  CHECK_OK(reap_durable_commit(&temporary, path));
  CU_ASSERT_TRUE(has_text(victim, "precious"));
  CU_ASSERT_TRUE(has_text(path, "new"));
}

/* Two processes that write one file: each has a name of its own, and the later one's file stays. */
static void processes_have_names_of_their_own(void) {
  char path[NAME], *temporary = NULL;
  int code = -1;
  own_path("both", path);
  CHECK_OK(reap_durable_begin(path, &temporary));
  put_text(temporary, "parent");
  const pid_t child = fork();
  if (child == 0) {
    char *own = NULL;
    if (reap_durable_begin(path, &own) != 0 || strcmp(own, temporary) == 0) _exit(1);
    put_text(own, "child");
    _exit(reap_durable_commit(&own, path) == 0 && has_text(path, "child") ? 0 : 2);
  }
  CU_ASSERT_EQUAL(waitpid(child, &code, 0), child);
  CU_ASSERT_EQUAL(code, 0);
  CU_ASSERT_TRUE(has_text(path, "child"));
  CHECK_OK(reap_durable_commit(&temporary, path));
  CU_ASSERT_TRUE(has_text(path, "parent"));
}

/* `temporary` with the number of another process: what that one would write to. */
static void name_of_process(const char *temporary, long process, char name[NAME]) {
  const char *dot = strrchr(temporary, '.');
  while (*--dot != '.') continue;
  snprintf(name, NAME, "%.*s.%ld.tmp", (int)(dot - temporary), temporary, process);
}

static void leftovers_go_when_their_process_is_gone(void) {
  char folder[NAME], path[NAME], other[NAME], gone[NAME], living[NAME], foreign[NAME], users[NAME], *temporary = NULL;
  own_path("folder", folder); /* of this rank alone: another rank's tidying would take what this one looks for */
  CU_ASSERT_TRUE(mkdir(folder, 0777) == 0 || errno == EEXIST);
  snprintf(path, sizeof path, "%.1000s/killed", folder);
  snprintf(other, sizeof other, "%.1000s/killed.h5", folder);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
  CHECK_OK(reap_durable_begin(path, &temporary));
  name_of_process(temporary, (long)child, gone);
  name_of_process(temporary, (long)getppid(), living);
  snprintf(foreign, sizeof foreign, "%.1000s.elsewhere.%ld.tmp", path, (long)child);
  snprintf(users, sizeof users, "%.1000s.notes.tmp", path);
  const char *const all[] = {gone, living, foreign, users};
  for (int i = 0; i < 4; i++) put_text(all[i], "half");
  reap_durable_tidy(other);
  CU_ASSERT_TRUE(exists(gone));
  reap_durable_tidy(path);
  CU_ASSERT_FALSE(exists(gone));
  for (int i = 1; i < 4; i++) CU_ASSERT_TRUE(exists(all[i]));
  CU_ASSERT_TRUE(exists(temporary));
  put_text(gone, "half");
  reap_durable_tidy_folder(folder);
  CU_ASSERT_FALSE(exists(gone));
  for (int i = 1; i < 4; i++) {
    CU_ASSERT_TRUE(exists(all[i]));
    unlink(all[i]);
  }
  reap_durable_abandon(&temporary);
}

static void links_stay_and_their_targets_are_replaced(void) {
  char target[NAME], link[NAME], onwards[NAME], name[64], *temporary = NULL;
  own_path("target", target);
  own_path("link", link);
  own_path("onwards", onwards);
  snprintf(name, sizeof name, "%d-target", test_rank());
  CU_ASSERT_EQUAL(symlink(name, link), 0);
  CU_ASSERT_EQUAL(symlink(link, onwards), 0);
  for (int there = 0; there < 2; there++) { /* first a link to a file that is not there yet */
    CHECK_OK(reap_durable_begin(onwards, &temporary));
    put_text(temporary, there ? "newer" : "new");
    CHECK_OK(reap_durable_commit(&temporary, onwards));
    CU_ASSERT_TRUE(has_text(target, there ? "newer" : "new"));
    CU_ASSERT_TRUE(is_link(onwards) && is_link(link));
  }
  CU_ASSERT_FALSE(test_left_behind(target));
  unlink(link);
  CU_ASSERT_EQUAL(symlink(onwards, link), 0);
  CHECK_FAILS(reap_durable_begin(link, &temporary), REAP_ERR_INPUT, "circle");
}

static void only_regular_files_are_replaced(void) {
  char path[NAME], *temporary = NULL;
  struct stat about;
  own_path("pipe", path);
  CHECK_FAILS(reap_durable_begin("/dev/null", &temporary), REAP_ERR_INPUT, "is a device");
  CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
  CHECK_FAILS(reap_durable_begin(path, &temporary), REAP_ERR_INPUT, "is a pipe");
  CU_ASSERT_TRUE(stat(path, &about) == 0 && S_ISFIFO(about.st_mode));
  unlink(path);
}

static void temporary_names_lead_back(void) {
  char path[NAME], name[NAME], *temporary = NULL;
  own_path("back.h5", path);
  CHECK_OK(reap_durable_begin(path, &temporary));
  snprintf(name, sizeof name, "%s", temporary);
  reap_durable_abandon(&temporary);
  for (int i = 0; i < 2; i++) {
    reap_durable_final_name(name);
    CU_ASSERT_STRING_EQUAL(name, path);
  }
  char others[][24] = {"",          ".tmp",    "a.tmp",       "1.2.tmp",   "x.y.1.tmp/b",
                       "a.b.c.tmp", "..1.tmp", "a.b/c.1.tmp", "a.b.-1.tmp"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    char copy[24];
    strcpy(copy, others[i]);
    reap_durable_final_name(copy);
    CU_ASSERT_STRING_EQUAL(copy, others[i]);
  }
}

static void long_names_have_temporary_ones_too(void) {
  char letters[241], path[NAME], *temporary = NULL;
  memset(letters, 'n', 240);
  letters[240] = '\0';
  own_path(letters, path);
  CHECK_OK(reap_durable_begin(path, &temporary));
  put_text(temporary, "new");
  CHECK_OK(reap_durable_commit(&temporary, path));
  CU_ASSERT_TRUE(has_text(path, "new"));
  unlink(path);
}

static void all_ranks_know_the_name(void) {
  char path[NAME], *temporary = NULL, *name = NULL;
  own_path("shared", path);
  if (test_rank() == 0) CHECK_OK(reap_durable_begin(path, &temporary));
  CHECK_OK(reap_durable_share(test_comm(), temporary, &name));
  if (temporary) CU_ASSERT_STRING_EQUAL(name, temporary);
  CHECK_OK(reap_comm_same(test_comm(), name, strlen(name), "the name"));
  reap_free(&name);
  reap_durable_abandon(&temporary);
}

const test_case test_cases[] = {
    {"files_appear_when_committed", files_appear_when_committed},
    {"abandoned_files_leave_nothing", abandoned_files_leave_nothing},
    {"places_that_cannot_be_written_are_named", places_that_cannot_be_written_are_named},
    {"system_errors_have_their_status", system_errors_have_their_status},
    {"temporary_names_follow_no_link", temporary_names_follow_no_link},
    {"processes_have_names_of_their_own", processes_have_names_of_their_own},
    {"leftovers_go_when_their_process_is_gone", leftovers_go_when_their_process_is_gone},
    {"links_stay_and_their_targets_are_replaced", links_stay_and_their_targets_are_replaced},
    {"only_regular_files_are_replaced", only_regular_files_are_replaced},
    {"temporary_names_lead_back", temporary_names_lead_back},
    {"long_names_have_temporary_ones_too", long_names_have_temporary_ones_too},
    {"all_ranks_know_the_name", all_ranks_know_the_name},
    {NULL, NULL}};
