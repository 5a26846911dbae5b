/* Sums of held-out images, over ranks; see held_out.h. Adding the other ranks' zeros to a block's sums is exact, and
 * blocks are added in order: errors do not depend on the number of ranks. */
#include "held_out.h"

#include "reap/error.h"
#include "reap/memory.h"
#include "reap/moments.h"

void reap_held_out_clear(reap_held_out_sums *s) {
  reap_free(&s->errors);
  reap_free(&s->squares);
  reap_free(&s->y);
}

int reap_held_out_begin(int64_t blocks, int64_t m, reap_held_out_sums *s) {
  reap_held_out_clear(s);
  *s = (reap_held_out_sums){.blocks = blocks, .m = m};
  REAP_TRY(reap_calloc(&s->errors, blocks, sizeof *s->errors));
  REAP_TRY(reap_calloc(&s->squares, blocks, sizeof *s->squares));
  return reap_calloc(&s->y, m, sizeof *s->y);
}

int reap_held_out_finish(const reap_comm *comm, reap_held_out_sums *s, reap_held_out_error *out) {
  REAP_TRY(reap_comm_sum(comm, s->errors, s->blocks));
  REAP_TRY(reap_comm_sum(comm, s->squares, s->blocks));
  REAP_TRY(reap_comm_sum(comm, s->y, s->m));
  REAP_TRY(reap_comm_sum_int64(comm, &s->samples, 1));
  *out = (reap_held_out_error){.samples = s->samples};
  for (int64_t b = 0; b < s->blocks; b++) {
    out->error += s->errors[b];
    out->energy += s->squares[b];
  }
  double means = 0;
  for (int64_t j = 0; j < s->m; j++) means += s->y[j] * s->y[j];
  if (out->samples > 0) out->energy = reap_centred_energy(out->energy, means / (double)out->samples);
  return REAP_OK;
}
