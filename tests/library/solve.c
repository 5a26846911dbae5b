/* Solves each layer of a statistics file: half of its input channels go. No MPI is needed.
 *
 *   solve STATS.h5
 */
#include <reap.h>
#include <stdio.h>

static int solve(reap_stats_file *file, int layer) {
  const char *name = reap_stats_file_layer_name(file, layer);
  reap_moments *moments = NULL;
  reap_path *path = NULL;
  int status = reap_stats_file_read(file, layer, &moments);
  const reap_gram gram = reap_gram_of(moments);
  const reap_solve_options options = reap_solver_local(REAP_DEFAULT_RIDGE);
  if (status == REAP_OK) status = reap_solve(&gram, (gram.channels + 1) / 2, &options, name, &path);
  if (status == REAP_OK)
    printf("%s %lld -> %lld relative error %g\n", name, (long long)path->channels, (long long)path->n_kept,
           path->error_plain[path->n_removed - 1] / path->energy);
  reap_path_destroy(&path);
  reap_moments_destroy(&moments);
  return status;
}

int main(int argc, char **argv) {
  reap_stats_file *file = NULL;
  int status = argc == 2 ? reap_stats_file_open(argv[1], &file) : reap_error(REAP_ERR_USAGE, "usage: solve STATS.h5");
  for (int i = 0; status == REAP_OK && i < reap_stats_file_layers(file); i++) status = solve(file, i);
  if (status != REAP_OK) fprintf(stderr, "%s\n", reap_error_message());
  if (file) reap_stats_file_close(&file);
  return status;
}
