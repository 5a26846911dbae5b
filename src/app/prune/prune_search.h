/* The smallest network within bounds on what it loses (--max-kl, --max-drop); private to src/app.
 *
 * Bounds hold for the upper ends of the 95 % intervals on views of images held out. Losses of all groups are measured
 * once. Budgets are first tried in small, on a quarter of the images and without producers, which tells how the losses
 * grow; then as a whole, at the budget at which these trials, corrected by the whole runs so far, meet the bounds.
 */
#ifndef REAP_APP_PRUNE_SEARCH_H
#define REAP_APP_PRUNE_SEARCH_H

#include "prune_run.h"

/* Collective, in place of prune_run_open() and prune_run_prune(): run->session is that of the smallest network found
 * within the bounds, run->options those that it was made with, run->search what was tried. To be cleared also after an
 * error. REAP_ERR_USAGE: what the images cannot prove; REAP_ERR_NUMERIC: no network is within the bounds. */
int prune_search_run(prune_run *run, prune_search *search);

#endif
