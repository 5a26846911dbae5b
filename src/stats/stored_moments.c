#include "stored_moments.h"

#include "reap/error.h"

static int find(reap_stats_file *file, const char *name, int *index) {
  *index = reap_stats_file_find(file, name);
  if (*index >= 0) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s: has no layer \"%s\"; gather the moments with reap stats",
                    reap_stats_file_path(file), name);
}

static int check_shape(reap_stats_file *file, const char *name, const reap_layer *layer, int64_t channels,
                       int64_t block, int64_t m) {
  if (channels == layer->channels && block == layer->block && m == layer->m) return REAP_OK;
  return reap_error(
      REAP_ERR_INPUT,
      "%s: layer \"%s\" has %lld channels of %lld columns and %lld outputs; the network has %lld of %lld and %lld",
      reap_stats_file_path(file), name, (long long)channels, (long long)block, (long long)m, (long long)layer->channels,
      (long long)layer->block, (long long)layer->m);
}

int stored_moments_read(reap_stats_file *file, const char *name, const reap_layer *layer, reap_moments **out) {
  int index = 0;
  REAP_TRY(find(file, name, &index));
  REAP_TRY(reap_stats_file_read(file, index, out));
  int status = check_shape(file, name, layer, (*out)->channels, (*out)->block, (*out)->m);
  if (status != REAP_OK) reap_moments_destroy(out);
  return status;
}

int stored_moments_open(reap_stats_file *file, const char *name, const reap_layer *layer, reap_stats_source **out) {
  int index = 0;
  REAP_TRY(find(file, name, &index));
  REAP_TRY(reap_stats_source_open(file, index, out));
  const reap_moments_source *s = reap_stats_source_moments(*out);
  int status = check_shape(file, name, layer, s->channels, s->block, s->m);
  if (status != REAP_OK) reap_stats_source_close(out);
  return status;
}
