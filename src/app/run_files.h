/* All files that a run reads and writes, checked before any work, and watched while it lasts; private to src/app.
 *
 * A run destroys no file by mistake. An output is never an input or another output, under any spelling (links, other
 * paths: device and inode are compared), and never replaces a folder, a device or a pipe. If an output is a symbolic
 * link, its target is replaced. One line of the log names the files that will be replaced.
 *
 * The option decides the form of an output. Names of another form (.h5 and .hdf5 HDF5, .onnx ONNX, .json JSON) are
 * refused, all other names are accepted. "-" is standard output, for one output of JSON in a run; everything else that
 * the run prints goes to standard error then.
 *
 * Inputs may change or vanish during a run. Hashes are taken at the start; at the end the log and the report name the
 * inputs that have changed.
 */
#ifndef REAP_APP_RUN_FILES_H
#define REAP_APP_RUN_FILES_H

#include <stdbool.h>
#include "app/json/json.h"
#include "io/onnx/source.h"

#include "base/hash.h"
#include "io/files/file_identity.h"
#include "reap/comm.h"
#include "reap/network.h"

typedef enum file_form { FORM_ANY, FORM_HDF5, FORM_ONNX, FORM_JSON } file_form;

typedef struct run_file {
  const char *option; /* "--calib", "MODEL": as the command line has it */
  const char *path;   /* NULL: not given, and left out */
  bool output;
  file_form form; /* of an output */
} run_file;

#define RUN_INPUT(option, path) \
  { (option), (path), false, FORM_ANY }
#define RUN_OUTPUT(option, path, form) \
  { (option), (path), true, (form) }

/* A file of the run and its state. */
typedef struct run_file_state {
  run_file file;
  char *path; /* owned: what file.path points to */
  reap_file_identity identity;
} run_file_state;

typedef struct run_files {
  const char *title; /* "reap prune" */
  int n;
  run_file_state *files;
} run_files;

/* Collective. Takes up the table of a command (its strings but for the paths have to last) and checks it:
 * REAP_ERR_USAGE if an output is another file of the run or named for another form, REAP_ERR_INPUT if it cannot be
 * written. To be cleared also after an error. */
int run_files_check(const reap_comm *comm, const char *title, const run_file *table, int count, run_files *out);
void run_files_clear(run_files *files);

/* Collective. The same for what `network`, which `option` names, keeps in other files. */
int run_files_check_network(const reap_comm *comm, const reap_network *network, const char *option, run_files *files);

/* Collective. Says in the log which outputs are there already. */
int run_files_announce(const reap_comm *comm, const run_files *files);

/* Local. REAP_ERR_USAGE if `path`, which the run will write, is one of its inputs. */
int run_files_check_output(const run_files *files, const char *path);

/* Local. Warns of inputs that have changed since they were checked. */
void run_files_warn(const run_files *files);

/* Local. "changed_inputs": their names; NULL for `files` is fine. */
void run_files_report(const run_files *files, cJSON *report);

/* Collective. Hash of a file, read by rank 0 alone, on all ranks. */
int run_files_hash(const reap_comm *comm, const char *path, char digest[REAP_HASH_LENGTH]);

/* The form that a name promises; FORM_ANY: none. */
file_form run_files_form(const char *path);

#endif
