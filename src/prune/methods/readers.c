#include "readers.h"

#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"

double reap_reader_scale(const reap_reader *reader) {
  const double energy = reap_moments_centred_energy(reader->gram->moments);
  return energy > 0 ? 1 / energy : 0;
}

int reap_reader_weights(const reap_evidence *e, const reap_reader *reader, double **weights, double **bias) {
  *weights = *bias = NULL;
  REAP_TRY(reap_alloc(weights, reader->gram->n * reader->gram->m, sizeof **weights));
  REAP_TRY(reap_alloc(bias, reader->gram->m, sizeof **bias));
  reap_surgery_get_weights(e->graph, reader->node, *weights, *bias);
  return REAP_OK;
}

int reap_reader_columns(const reap_reader *reader, int64_t units, int64_t *each, int64_t **columns) {
  int64_t *count = NULL;
  *each = 0;
  *columns = NULL;
  REAP_TRY(reap_calloc(&count, units, sizeof *count));
  for (int64_t i = 0; i < reader->gram->n; i++) {
    const int64_t unit = reap_reader_unit(reader, i);
    if (unit >= 0 && ++count[unit] > *each) *each = count[unit];
  }
  const int status = reap_alloc(columns, units * *each, sizeof **columns);
  for (int64_t k = 0; status == REAP_OK && k < units * *each; k++) (*columns)[k] = -1;
  for (int64_t i = reader->gram->n - 1; status == REAP_OK && i >= 0; i--) { /* the last place first */
    const int64_t unit = reap_reader_unit(reader, i);
    if (unit >= 0) (*columns)[unit * *each + --count[unit]] = i;
  }
  reap_free(&count);
  return status;
}
