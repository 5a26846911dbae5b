/* What a pruning run leaves behind: the model in HDF5 and ONNX, the report, the table; private to src/app. Local: rank
 * 0 writes. */
#ifndef REAP_APP_PRUNE_OUTPUT_H
#define REAP_APP_PRUNE_OUTPUT_H

#include "prune_run.h"

/* The pruned model as HDF5 and as ONNX (either name may be NULL). `source`, the original network's, takes up the edits:
 * it stands for the pruned network afterwards. */
int prune_output_write_models(const prune_run *run, reap_source *source, const char *output, const char *onnx);

/* The sizes chosen and what they come to; writes the plan, if it is asked for. */
int prune_output_sizes(const prune_run *run);

/* Writes all files asked for, each whole or not at all, and prints the table. */
int prune_output_write(const prune_run *run);

#endif
