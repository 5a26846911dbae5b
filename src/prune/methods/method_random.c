/* Random choice: the baseline that any criterion has to beat. Depends on the seed and the group's name only. */
#include "base/random.h"
#include "methods.h"
#include "reap/error.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  reap_random random = reap_random_init(e->seed, reap_random_key(e->group->name), 0);
  reap_random_sample(&random, e->group->units, e->n_kept, choice->kept);
  return REAP_OK;
}

const reap_method reap_method_random = {.name = "random",
                                        .summary = "drawn at random from the seed and the group's name",
                                        .needs = REAP_NEEDS_SEED,
                                        .gives = REAP_GIVES_SET,
                                        .can = REAP_CAN_COUPLED,
                                        .score = score};
