/* A method of one's own: the channels stay whose readers have the largest sums of squared weights.
 *
 *   method NETWORK.onnx IMAGES.h5      prints the channels that each group keeps
 */
#include <reap.h>
#include <stdio.h>

/* Weights of the layer that reads the group: [outputs, channels, height, width], or [outputs, columns]. */
static int score(void *state, const reap_evidence *evidence, reap_choice *choice) {
  (void)state;
  const reap_graph *graph = evidence->graph;
  const int64_t channels = evidence->group->units;
  const reap_tensor *weights = reap_node_constant(graph, graph->nodes[reap_group_consumer(evidence->group)], 1);
  const int64_t run = weights->count / weights->dims[0] / channels; /* weights of a channel in one output */
  for (int64_t i = 0; i < weights->count; i++)
    choice->scores[i / run % channels] += (double)weights->f32[i] * (double)weights->f32[i];
  return REAP_OK;
}

static const reap_method l2 = {.name = "own-l2",
                               .summary = "largest L2 norm of the weights that read the channel",
                               .needs = REAP_NEEDS_WEIGHTS,
                               .gives = REAP_GIVES_SCORES,
                               .score = score};

static int prune(reap_session *session) {
  REAP_TRY(reap_session_plan(session));
  for (bool more = true; more;) {
    reap_session_record record;
    REAP_TRY(reap_session_step(session, &record, &more));
    printf("%s", record.group);
    for (int64_t i = 0; i < record.n_kept; i++) printf(" %lld", (long long)record.kept[i]);
    printf("\n");
  }
  return reap_session_finish(session);
}

int main(int argc, char **argv) {
  reap_comm *comm = NULL;
  reap_network network = {NULL, NULL};
  reap_dataset *images = NULL;
  reap_session *session = NULL;
  reap_session_settings settings = reap_session_defaults();
  MPI_Init(&argc, &argv);
  int status = argc == 3 ? reap_method_register(&l2) : reap_error(REAP_ERR_USAGE, "usage: method NETWORK IMAGES");
  settings.method = reap_method_find("own-l2");
  settings.budget = REAP_BUDGET_KEEP;
  settings.amount = 0.5;
  settings.refit = REAP_REFIT_NONE;
  settings.repair = false;
  settings.images = 60;
  settings.positions = 4;
  if (status == REAP_OK) status = reap_comm_create(MPI_COMM_SELF, &comm);
  if (status == REAP_OK) status = reap_network_load(comm, argv[1], &network);
  if (status == REAP_OK) status = reap_dataset_open(argv[2], &images);
  if (status == REAP_OK) status = reap_session_create(comm, &network, images, &settings, &session);
  if (status == REAP_OK) status = prune(session);
  if (status != REAP_OK) fprintf(stderr, "%s\n", reap_error_message());
  reap_session_destroy(&session);
  reap_dataset_close(&images);
  reap_network_clear(&network);
  reap_comm_destroy(&comm);
  MPI_Finalize();
  return status;
}
