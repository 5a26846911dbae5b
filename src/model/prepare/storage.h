/* In which order values are stored; private to src/model. */
#ifndef REAP_MODEL_STORAGE_H
#define REAP_MODEL_STORAGE_H

#include "reap/graph.h"

/* Sets channels_last of all values: see layout.h. What windows slide over (the inputs and outputs of convolutions and
 * poolings) is stored channels last, and so is what element-wise operators make of it; and all else of rank 4 but what
 * attention multiplies, or norms over the last axes work on. Layouts have to be known. */
int reap_choose_storage(reap_graph *graph);

#endif
