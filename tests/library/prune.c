/* Prunes a network to half of its channels, with progress and messages of its own.
 *
 *   mpirun -n P prune NETWORK.onnx IMAGES.h5 SMALL.onnx
 */
#include <reap.h>
#include <stdio.h>

static void show(void *context, const reap_progress_event *event) {
  (void)context;
  printf("%s %s %.0f %%\n", event->phase, event->item ? event->item : "", 100 * event->done / event->total);
}

static void say(void *context, reap_log_level level, const char *message) {
  (void)context;
  printf("%s: %s\n", level == REAP_LOG_WARNING ? "warning" : "note", message);
}

static int take_steps(reap_session *session) {
  reap_session_record record;
  REAP_TRY(reap_session_plan(session));
  for (bool more = true; more;) REAP_TRY(reap_session_step(session, &record, &more));
  return reap_session_finish(session);
}

static int prune(const reap_comm *comm, const reap_network *network, reap_dataset *images, const char *path) {
  const reap_progress progress = {reap_comm_rank(comm) == 0 ? show : NULL, NULL};
  reap_session *session = NULL;
  reap_session_settings settings = reap_session_defaults();
  settings.budget = REAP_BUDGET_KEEP;
  settings.amount = 0.5;
  settings.images = 60;
  settings.positions = 4;
  settings.progress = &progress;
  int status = reap_session_create(comm, network, images, &settings, &session);
  if (status == REAP_OK) status = take_steps(session);
  if (status == REAP_OK && reap_comm_rank(comm) == 0) status = reap_session_write_onnx(session, path);
  reap_session_destroy(&session);
  return reap_comm_agree(comm, status);
}

int main(int argc, char **argv) {
  reap_comm *comm = NULL;
  reap_network network = {NULL, NULL};
  reap_dataset *images = NULL;
  MPI_Init(&argc, &argv);
  int status = reap_comm_create(MPI_COMM_WORLD, &comm);
  const bool first = comm && reap_comm_rank(comm) == 0;
  reap_log_set_level(first ? REAP_LOG_WARNING : REAP_LOG_QUIET);
  reap_log_set_sink(say, NULL);
  if (status == REAP_OK && argc != 4)
    status = reap_error(REAP_ERR_USAGE, "usage: prune NETWORK.onnx IMAGES.h5 OUT.onnx");
  if (status == REAP_OK) status = reap_network_load(comm, argv[1], &network);
  if (status == REAP_OK) status = reap_comm_agree(comm, reap_dataset_open(argv[2], &images));
  if (status == REAP_OK) status = prune(comm, &network, images, argv[3]);
  if (status != REAP_OK && first) fprintf(stderr, "%s\n", reap_error_message());
  reap_dataset_close(&images);
  reap_network_clear(&network);
  reap_comm_destroy(&comm);
  MPI_Finalize();
  return status;
}
