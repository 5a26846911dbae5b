#include "run_files.h"

#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/files/durable.h"
#include "io/onnx/source.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "standard_output.h"

/* ------------------------------------------------------------------ the list */

static int add(run_files *f, const run_file *file) {
  run_file_state state = {.file = *file};
  REAP_TRY(reap_grow(&f->files, f->n, f->n + 1, sizeof *f->files));
  REAP_TRY(reap_strdup(&state.path, file->path));
  state.file.path = state.path;
  const int status = standard_output_is(state.path) ? REAP_OK : reap_file_identify(state.path, &state.identity);
  f->files[f->n++] = state;
  return status;
}

void run_files_clear(run_files *f) {
  for (int i = 0; i < f->n; i++) reap_free(&f->files[i].path);
  reap_free(&f->files);
  f->n = 0;
}

/* ------------------------------------------------------------------ one output */

file_form run_files_form(const char *path) {
  static const struct {
    const char *ending;
    file_form form;
  } endings[] = {{".h5", FORM_HDF5}, {".hdf5", FORM_HDF5}, {".onnx", FORM_ONNX}, {".json", FORM_JSON}};
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
  for (size_t i = 0; dot && i < sizeof endings / sizeof endings[0]; i++)
    if (strcasecmp(dot, endings[i].ending) == 0) return endings[i].form;
  return FORM_ANY;
}

static const char *form_name(file_form form) {
  return form == FORM_HDF5 ? "HDF5" : form == FORM_ONNX ? "ONNX" : "JSON";
}

/* The name against what will be written. */
static int check_form(const run_files *f, const run_file *o) {
  const file_form promised = run_files_form(o->path);
  if (standard_output_is(o->path))
    return o->form == FORM_JSON
               ? REAP_OK
               : reap_error(REAP_ERR_USAGE, "%s: %s -: %s cannot go to standard output; give the name of a file",
                            f->title, o->option, form_name(o->form));
  if (promised == FORM_ANY || o->form == FORM_ANY || promised == o->form) return REAP_OK;
  return reap_error(REAP_ERR_USAGE, "%s: %s %s: %s is written there, and the name says %s; name it *%s", f->title,
                    o->option, o->path, form_name(o->form), form_name(promised),
                    o->form == FORM_HDF5   ? ".h5"
                    : o->form == FORM_ONNX ? ".onnx"
                                           : ".json");
}

static int check_kind(const run_file *o) {
  const char *kind = reap_durable_other_kind(o->path);
  if (!kind) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s %s: is %s; give the name of a file%s", o->option, o->path, kind,
                    o->form == FORM_JSON ? ", or - for standard output" : "");
}

/* Where the shell has led this process's messages. */
static int check_streams(const run_files *f, const run_file_state *o) {
  static const char *const names[] = {[STDOUT_FILENO] = "standard output", [STDERR_FILENO] = "standard error"};
  struct stat about;
  for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
    if (o->identity.there && fstat(fd, &about) == 0 && (uint64_t)about.st_dev == o->identity.device &&
        (uint64_t)about.st_ino == o->identity.inode)
      return reap_error(REAP_ERR_USAGE, "%s: %s %s is this program's %s as well; name another file", f->title,
                        o->file.option, o->path, names[fd]);
  return REAP_OK;
}

static int check_writable(const char *path) {
  char *temporary = NULL;
  REAP_TRY(reap_durable_tidy(path));
  REAP_TRY(reap_durable_begin(path, &temporary));
  reap_durable_abandon(&temporary);
  return REAP_OK;
}

/* ------------------------------------------------------------------ all of them */

static int check_pair(const run_files *f, const run_file_state *o, const run_file_state *other) {
  bool same = false;
  REAP_TRY(reap_file_same(o->path, &o->identity, other->path, &other->identity, &same));
  if (!same) return REAP_OK;
  return reap_error(REAP_ERR_USAGE,
                    "%s: %s %s and %s %s are one file, named twice; an output must not be another file of the run",
                    f->title, o->file.option, o->path, other->file.option, other->path);
}

/* Output `k` against all inputs and the outputs before it. */
static int check_others(const run_files *f, int k) {
  const run_file_state *o = &f->files[k];
  for (int i = 0; i < f->n; i++)
    if (i != k && (!f->files[i].file.output || i < k)) REAP_TRY(check_pair(f, o, &f->files[i]));
  return REAP_OK;
}

/* Mistakes on the command line first, then what is wrong with the files. */
static int check_outputs(const run_files *f) {
  for (int k = 0; k < f->n; k++)
    if (f->files[k].file.output) REAP_TRY(check_others(f, k));
  for (int k = 0; k < f->n; k++)
    if (f->files[k].file.output) REAP_TRY(check_form(f, &f->files[k].file));
  for (int k = 0; k < f->n; k++) {
    const run_file_state *o = &f->files[k];
    if (!o->file.output || standard_output_is(o->path)) continue;
    REAP_TRY(check_kind(&o->file));
    REAP_TRY(check_streams(f, o));
    REAP_TRY(check_writable(o->path));
  }
  return REAP_OK;
}

int run_files_announce(const reap_comm *comm, const run_files *f) {
  char *list = NULL;
  int status = reap_strdup(&list, "");
  for (int k = 0; status == REAP_OK && k < f->n; k++) {
    char *longer = NULL;
    if (!f->files[k].file.output || !f->files[k].identity.there) continue;
    status = reap_format(&longer, "%s%s%s", list, *list ? ", " : "", f->files[k].path);
    reap_free(&list);
    list = longer;
  }
  if (status == REAP_OK && *list) reap_log(REAP_LOG_WARNING, "to be replaced when the run is done: %s", list);
  reap_free(&list);
  return reap_comm_agree(comm, status);
}

static int check_all(const run_files *f) {
  REAP_TRY(check_outputs(f));
  for (int k = 0; k < f->n; k++)
    if (f->files[k].file.output && standard_output_is(f->files[k].path)) return standard_output_take();
  return REAP_OK;
}

int run_files_check(const reap_comm *comm, const char *title, const run_file *table, int count, run_files *out) {
  int status = REAP_OK;
  *out = (run_files){.title = title};
  for (int i = 0; status == REAP_OK && i < count; i++)
    if (table[i].path) status = add(out, &table[i]);
  if (status == REAP_OK && reap_comm_rank(comm) == 0) status = check_all(out);
  return reap_comm_agree(comm, status);
}

/* Local, rank 0: another input, against all outputs. */
static int check_input(const run_files *f, const run_file_state *input) {
  for (int k = 0; k < f->n; k++)
    if (f->files[k].file.output) REAP_TRY(check_pair(f, &f->files[k], input));
  return REAP_OK;
}

int run_files_check_network(const reap_comm *comm, const reap_network *network, const char *option, run_files *files) {
  int status = REAP_OK;
  for (int64_t i = 0; status == REAP_OK && i < reap_source_external_files(network->source); i++) {
    const run_file file = RUN_INPUT(option, reap_source_external_file(network->source, i));
    status = add(files, &file);
    if (status == REAP_OK && reap_comm_rank(comm) == 0) status = check_input(files, &files->files[files->n - 1]);
  }
  return reap_comm_agree(comm, status);
}

int run_files_check_output(const run_files *f, const char *path) {
  run_file_state output = {.file = RUN_OUTPUT("its output", path, FORM_ANY), .path = (char *)(uintptr_t)path};
  REAP_TRY(reap_file_identify(path, &output.identity));
  for (int i = 0; i < f->n; i++)
    if (!f->files[i].file.output) REAP_TRY(check_pair(f, &output, &f->files[i]));
  return REAP_OK;
}

/* ------------------------------------------------------------------ inputs that change */

void run_files_warn(const run_files *f) {
  static const char *const words[] = {[REAP_FILE_GONE] = "is gone",
                                      [REAP_FILE_REPLACED] = "has been replaced",
                                      [REAP_FILE_MODIFIED] = "has been written to"};
  for (int i = 0; i < f->n; i++) {
    const run_file_state *s = &f->files[i];
    const reap_file_change change = s->file.output ? REAP_FILE_SAME : reap_file_changed(s->path, &s->identity);
    if (change != REAP_FILE_SAME)
      reap_log(REAP_LOG_WARNING, "%s %s %s since the run began; hashes are those of the file at the start",
               s->file.option, s->path, words[change]);
  }
}

void run_files_report(const run_files *f, cJSON *report) {
  cJSON *list = cJSON_AddArrayToObject(report, "changed_inputs");
  for (int i = 0; f && i < f->n; i++) {
    const run_file_state *s = &f->files[i];
    if (!s->file.output && reap_file_changed(s->path, &s->identity) != REAP_FILE_SAME)
      json_append(list, cJSON_CreateString(s->path));
  }
}

int run_files_hash(const reap_comm *comm, const char *path, char digest[REAP_HASH_LENGTH]) {
  REAP_TRY(reap_comm_agree(comm, reap_comm_rank(comm) == 0 ? reap_hash_file(path, digest) : REAP_OK));
  return reap_comm_broadcast(comm, digest, REAP_HASH_LENGTH, 0);
}
