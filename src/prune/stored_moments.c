#include "stored_moments.h"

#include "reap/error.h"

int stored_moments_read(reap_stats_file *file, const char *name, const reap_layer *layer, reap_moments **out) {
  const char *path = reap_stats_file_path(file);
  const int index = reap_stats_file_find(file, name);
  if (index < 0)
    return reap_error(REAP_ERR_INPUT, "%s: has no layer \"%s\"; gather the moments with reap stats", path, name);
  REAP_TRY(reap_stats_file_read(file, index, out));
  const reap_moments *s = *out;
  if (s->channels == layer->channels && s->block == layer->block && s->m == layer->m) return REAP_OK;
  int status = reap_error(
      REAP_ERR_INPUT,
      "%s: layer \"%s\" has %lld channels of %lld columns and %lld outputs; the network has %lld of %lld and %lld",
      path, name, (long long)s->channels, (long long)s->block, (long long)s->m, (long long)layer->channels,
      (long long)layer->block, (long long)layer->m);
  reap_moments_destroy(out);
  return status;
}
