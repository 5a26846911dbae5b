/* What a pruned network tells of its making, in itself; private to src/app. Local.
 *
 * Nothing in it depends on when, where, on how many ranks or under which names of files it was made: the same options
 * and inputs give the same bytes.
 */
#ifndef REAP_APP_PRUNE_NOTES_H
#define REAP_APP_PRUNE_NOTES_H

#include "prune_run.h"

/* Notes "reap.command" (the options that decide about the result, and are not as by default), "reap.plan" (a plan for
 * --plan) and the hashes of model and images, in a source that has taken up the run's edits. */
int prune_notes_add(const prune_run *run, reap_source *source);

#endif
