/* Outputs kept for comparison; see evaluate.h and reference.h. */
#include "reference.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

void reap_reference_destroy(reap_reference **reference) {
  if (!*reference) return;
  reap_free(&(*reference)->kinds);
  reap_free(&(*reference)->sizes);
  reap_free(&(*reference)->of_means);
  reap_free(&(*reference)->rows);
  reap_free(reference);
}

/* Images of this rank. */
static int64_t local_images(const reap_shard *shard) {
  const int64_t begin = shard->first * shard->block, end = shard->last * shard->block;
  return (end < shard->images ? end : shard->images) - (begin < shard->images ? begin : shard->images);
}

/* Every block goes to all ranks: outputs are small beside images. */
static int redeal(const reap_comm *comm, const reap_shard *from, const reap_shard *to, const reap_reference *old,
                  float *buffer, reap_reference *fresh) {
  const int ranks = reap_comm_size(comm);
  for (int root = 0; root < ranks; root++) {
    const reap_shard owner = reap_shard_make(from->images, from->block, root, ranks);
    for (int64_t b = owner.first; b < owner.last; b++) {
      int64_t first, count;
      reap_shard_block(&owner, b, &first, &count);
      const size_t bytes = (size_t)(count * old->size) * sizeof *buffer;
      if (root == reap_comm_rank(comm))
        memcpy(buffer, old->rows + (first - from->first * from->block) * old->size, bytes);
      REAP_TRY(reap_comm_broadcast(comm, buffer, bytes, root));
      if (b >= to->first && b < to->last)
        memcpy(fresh->rows + (first - to->first * to->block) * old->size, buffer, bytes);
    }
  }
  return REAP_OK;
}

int reap_reference_create(const reap_shard *shard, int n, int64_t size, reap_reference **out) {
  int64_t count = 0;
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  reap_reference *f = *out;
  *f = (reap_reference){.images = shard->images, .first = shard->first, .size = size, .n = n};
  REAP_TRY(reap_calloc(&f->kinds, n, sizeof *f->kinds));
  REAP_TRY(reap_calloc(&f->sizes, n, sizeof *f->sizes));
  REAP_TRY(reap_calloc(&f->of_means, n, sizeof *f->of_means));
  REAP_TRY(reap_multiply(local_images(shard), size, &count));
  return reap_alloc(&f->rows, count, sizeof *f->rows);
}

int reap_reference_redeal(const reap_comm *comm, const reap_shard *from, const reap_shard *to,
                          reap_reference **reference) {
  reap_reference *old = *reference, *fresh = NULL;
  float *buffer = NULL;
  int status = reap_reference_create(to, old->n, old->size, &fresh);
  if (status == REAP_OK) {
    memcpy(fresh->kinds, old->kinds, (size_t)old->n * sizeof *old->kinds);
    memcpy(fresh->sizes, old->sizes, (size_t)old->n * sizeof *old->sizes);
    memcpy(fresh->of_means, old->of_means, (size_t)old->n * sizeof *old->of_means);
  }
  if (status == REAP_OK) status = reap_alloc(&buffer, from->block * old->size, sizeof *buffer);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = redeal(comm, from, to, old, buffer, fresh);
  reap_free(&buffer);
  reap_reference_destroy(status == REAP_OK ? reference : &fresh);
  if (status == REAP_OK) *reference = fresh;
  return status;
}

void reap_reference_describe(const reap_output_set *outputs, reap_reference *reference) {
  for (int k = 0; k < outputs->n; k++) {
    reference->kinds[k] = outputs->list[k].kind;
    reference->sizes[k] = outputs->list[k].size;
  }
}

int reap_reference_check(const reap_reference *against, const reap_output_set *outputs, const reap_shard *shard) {
  if (against->n != outputs->n)
    return reap_error(REAP_ERR_INPUT, "outputs cannot be compared: the networks have %d and %d of them", against->n,
                      outputs->n);
  for (int k = 0; k < against->n; k++)
    if (against->sizes[k] != outputs->list[k].size)
      return reap_error(REAP_ERR_INPUT,
                        "outputs cannot be compared: the networks have %lld and %lld for an image in output %d, \"%s\"",
                        (long long)against->sizes[k], (long long)outputs->list[k].size, k + 1, outputs->list[k].name);
  if (against->images != shard->images || against->first != shard->first)
    return reap_error(REAP_ERR_INTERNAL, "outputs cannot be compared: they are of other images");
  return REAP_OK;
}
