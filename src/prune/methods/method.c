/* The table of methods: one line and one file each. */
#include "reap/method.h"

#include <stddef.h>
#include <string.h>

#include "methods.h"

static const reap_method table[] = {
    {"reap", "least reconstruction error of the consumer's outputs, weights re-solved (Kamma and Wada, 2019)",
     reap_choose_reap},
    {"l1", "largest L1 norm of the weights that read the channel (He et al., ICCV 2017: max response)", reap_choose_l1},
    {"l1-filter", "largest L1 norm of the filter that makes the channel (Li et al., ICLR 2017)", reap_choose_l1_filter},
    {"random", "drawn at random from --seed and the group's name", reap_choose_random},
};

const reap_method *reap_method_at(int index) {
  return index >= 0 && index < (int)(sizeof table / sizeof table[0]) ? &table[index] : NULL;
}

const reap_method *reap_method_find(const char *name) {
  for (int i = 0; reap_method_at(i); i++)
    if (strcmp(table[i].name, name) == 0) return &table[i];
  return NULL;
}
