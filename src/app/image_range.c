/* Thresholds. Images come as bytes (up to 255), as 16-bit numbers (up to 65,535), as physical measurements of some
 * thousands, or normalised (some units): a million is beyond all of them, and leaves squares and sums of float32 their
 * accuracy. Normalised images stay within a few standard deviations, some within ten. Two distributions in float32
 * differ by the logarithm of its smallest normal number, 88 nats, at most: a larger divergence tells how large the
 * scores are and nothing about classes. */
#include "image_range.h"

#include <math.h>

#include "reap/error.h"
#include "reap/log.h"

static const int64_t FIRST_IMAGES = 128;
static const double LARGE = 1e6, SIGMAS = 20, MOST_NATS = 88;

int image_range_warn(const reap_comm *comm, const reap_dataset *data) {
  if (!data) return REAP_OK;
  double ends[2]; /* the smallest with its sign turned, so that the largest of both is wanted */
  reap_dataset_range(data, &ends[0], &ends[1]);
  ends[0] = -ends[0];
  REAP_TRY(reap_comm_max(comm, ends, 2));
  const double least = -ends[0], most = ends[1], largest = fmax(fabs(least), fabs(most));
  if (!(least <= most)) return REAP_OK; /* none was read */
  if (largest > LARGE)
    reap_log(REAP_LOG_WARNING,
             "%s: its images have values up to %.3g, far beyond those of images (255, 65535 or, normalised, some "
             "units): check how they are stored and scaled",
             reap_dataset_path(data), largest);
  if (least == most)
    reap_log(REAP_LOG_WARNING, "%s: all values of all images are %g, so they say nothing about the network",
             reap_dataset_path(data), least);
  return REAP_OK;
}

/* Three standard errors above chance are no chance. */
void image_range_warn_original(const reap_evaluation *figures, const reap_dataset *data) {
  double least, most;
  if (!figures->classified || figures->images < 100 || figures->classes < 2) return;
  const double chance = 1 / (double)figures->classes;
  if (figures->top1 > chance + 3 * sqrt(chance * (1 - chance) / (double)figures->images)) return;
  reap_dataset_range(data, &least, &most);
  reap_log(
      REAP_LOG_WARNING,
      "%s: the original network has %.1f %% of the labels right, no more than by chance (%.1f %%): are its images, "
      "with values from %.3g to %.3g%s, normalised as the network expects, and are the labels its own?",
      reap_dataset_path(data), 100 * figures->top1, 100 * chance, least, most,
      fmax(fabs(least), fabs(most)) > SIGMAS ? ", far from a few standard deviations" : "");
}

int image_range_check_original(const reap_comm *comm, const reap_network *network, reap_dataset *data,
                               reap_backend backend) {
  if (!data || !reap_dataset_has_labels(data)) return REAP_OK;
  const reap_shard shard = reap_shard_of(comm, data, FIRST_IMAGES, network->graph->batch);
  const reap_evaluate_options options = {.backend = backend};
  reap_evaluation figures = {0};
  const int status = reap_evaluate_with(comm, network->graph, data, &shard, &options, &figures);
  if (status == REAP_OK) image_range_warn_original(&figures, data);
  reap_evaluation_clear(&figures);
  return status;
}

void image_range_warn_figures(const reap_evaluation *figures, const char *name) {
  if (figures && figures->compared && figures->kl > MOST_NATS)
    reap_log(REAP_LOG_WARNING,
             "%s: a KL divergence of %.3g means scores that are too large for a soft-max, not other classes: check how "
             "the images are scaled",
             name, figures->kl);
}
