/* Random choice: the baseline that any criterion has to beat. Depends on the seed and the group's name only. */
#include "base/random.h"
#include "methods.h"
#include "reap/error.h"

int reap_choose_random(const reap_method_input *input, int64_t *kept, reap_path **path) {
  (void)path;
  reap_random random = reap_random_init(input->seed, reap_random_key(input->group->name), 0);
  reap_random_sample(&random, input->group->channels, input->n_kept, kept);
  return REAP_OK;
}
