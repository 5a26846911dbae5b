/* Means of outputs over images; see output_mean.h.
 *
 * Every element is rounded to a multiple of one unit for its whole output, and these integers are summed: the sum is
 * exact, so the order of images and ranks is of no consequence. The unit is as small as the sum over all images allows:
 * 2^-40 of the output's largest element with a million images.
 *
 * Cost: a pass over the rows, and a sum over the ranks of one integer for each element. Memory: as much. An output that
 * is not finite counts as 0; what is measured on it then is not finite itself.
 */
#include "output_mean.h"

#include <math.h>
#include <stdbool.h>

#include "reap/error.h"
#include "reap/memory.h"

typedef struct means {
  const reap_output_rows *outputs;
  const reap_shard *shard;
  double temperature;
  int64_t size, most; /* elements of all outputs; of the largest one */
  double *largest;    /* [n] magnitude of any element; 1 for scores, which count as probabilities */
  double *row;        /* [most] */
  int64_t *sums;      /* [size] */
} means;

static bool is_score(const means *m, int k) { return m->outputs->kinds[k] != REAP_OUTPUT_OTHER; }

static int set_up(means *m) {
  for (int k = 0; k < m->outputs->n; k++) {
    m->size += m->outputs->sizes[k];
    if (m->most < m->outputs->sizes[k]) m->most = m->outputs->sizes[k];
  }
  REAP_TRY(reap_calloc(&m->largest, m->outputs->n, sizeof *m->largest));
  REAP_TRY(reap_alloc(&m->row, m->most, sizeof *m->row));
  return reap_calloc(&m->sums, m->size, sizeof *m->sums);
}

static void clear(means *m) {
  reap_free(&m->largest);
  reap_free(&m->row);
  reap_free(&m->sums);
}

/* An image's output into m->row, scores as probabilities. */
static void take_row(means *m, int k, const float *from) {
  const int64_t size = m->outputs->sizes[k];
  if (is_score(m, k))
    reap_divergence_probabilities(m->outputs->kinds[k], from, size, m->temperature, m->row);
  else
    for (int64_t j = 0; j < size; j++) m->row[j] = (double)from[j];
}

static void note_largest(means *m, int k, int64_t first) {
  (void)first;
  for (int64_t j = 0; j < m->outputs->sizes[k]; j++)
    if (isfinite(m->row[j])) m->largest[k] = fmax(m->largest[k], fabs(m->row[j]));
}

/* Units in one: a power of two, with which no sum of all images exceeds 2^62. */
static double units(const means *m, int k) {
  int images = 0, magnitude = 0;
  frexp((double)m->shard->images, &images);
  frexp(m->largest[k], &magnitude);
  return ldexp(1, 61 - images - magnitude);
}

/* first: of the output's sums. */
static void add(means *m, int k, int64_t first) {
  const double scale = units(m, k);
  for (int64_t j = 0; j < m->outputs->sizes[k]; j++)
    if (isfinite(m->row[j])) m->sums[first + j] += llrint(m->row[j] * scale);
}

/* All rows of this rank. */
static void walk(means *m, void (*use)(means *, int k, int64_t first)) {
  const float *at = m->outputs->rows;
  for (int64_t b = m->shard->first; b < m->shard->last; b++) {
    int64_t begin, count, first = 0;
    reap_shard_block(m->shard, b, &begin, &count);
    for (int k = 0; k < m->outputs->n; k++) {
      for (int64_t i = 0; i < count; i++, at += m->outputs->sizes[k]) {
        take_row(m, k, at);
        use(m, k, first);
      }
      first += m->outputs->sizes[k];
    }
  }
}

static double energy_of(const means *m, int k, const int64_t *sums) {
  const int64_t size = m->outputs->sizes[k];
  const double images = (double)m->shard->images, scale = units(m, k);
  double energy = 0, entropy = 0;
  for (int64_t j = 0; j < size; j++) {
    const double mean = (double)sums[j] / scale / images;
    energy += mean * mean;
    if (mean > 0) entropy -= mean * log(mean);
  }
  if (!is_score(m, k)) return images * energy;
  return images * m->temperature * m->temperature * fmax(0, log((double)size) - entropy);
}

int reap_output_means(const reap_comm *comm, const reap_shard *shard, const reap_output_rows *outputs,
                      double temperature, double *of_means) {
  means m = {.outputs = outputs, .shard = shard, .temperature = temperature};
  int status = reap_comm_agree(comm, set_up(&m));
  if (status == REAP_OK) {
    walk(&m, note_largest);
    status = reap_comm_max(comm, m.largest, outputs->n);
  }
  if (status == REAP_OK) {
    walk(&m, add);
    status = reap_comm_sum_int64(comm, m.sums, m.size);
  }
  int64_t first = 0;
  for (int k = 0; status == REAP_OK && k < outputs->n; k++) {
    of_means[k] = energy_of(&m, k, m.sums + first);
    first += outputs->sizes[k];
  }
  clear(&m);
  return status;
}
