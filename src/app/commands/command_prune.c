/* reap prune: from a network and images to a smaller network. */
#include <string.h>

#include "app/command.h"
#include "app/image_range.h"
#include "app/prune/prune_output.h"
#include "app/prune/prune_search.h"
#include "app/stop_request.h"
#include "base/timer.h"
#include "reap/error.h"

static const char *const SYNOPSIS =
    "reap prune MODEL --calib D.h5 (--keep F | --flops F | --params F | --latency F | --plan P.json | --max-kl K) -o "
    "OUT.h5 "
    "[options]\n"
    "       reap prune MODEL --from-stats S.h5 (--keep F | --flops F | ...) -o OUT.h5 [options]";
static const char *const ABOUT =
    "Removes whole channels and re-solves the remaining weights by least squares. Channels are chosen by how well\n"
    "each layer's outputs can be reconstructed without them. Nothing is retrained, and labels are not used.\n";

/* Collective. Of a dry run. */
static int show_sizes(const prune_run *job) {
  const reap_comm *comm = job->context->comm;
  REAP_TRY(reap_session_plan(job->session));
  progress_view_finish();
  return reap_comm_agree(comm, reap_comm_rank(comm) == 0 ? prune_output_sizes(job) : REAP_OK);
}

/* The smallest network within bounds. Collective. */
static int search(prune_run *job, prune_search *tried) {
  job->seconds_load = reap_seconds() - job->start;
  REAP_TRY(prune_search_run(job, tried));
  REAP_TRY(reap_session_hash_data(job->session));
  return prune_run_judge(job);
}

static int run(const command_context *context, prune_options *o) {
  prune_search tried;
  prune_inputs inputs = {0};
  run_files files = {0};
  prune_run job = {.context = context,
                   .options = o,
                   .inputs = &inputs,
                   .progress = progress_view_progress(),
                   .start = reap_seconds(),
                   .files = &files};
  int status = REAP_OK;
  REAP_TRY(command_set_up(context, &o->common));
  o->settings.stop = stop_request_watch(o->settings.checkpoint, context->comm);
  REAP_TRY_OR(prune_options_check_files(context->comm, o, &files), done);
  REAP_TRY_OR(
      reap_network_load_for(context->comm, o->model, o->calibration ? o->calibration : o->evaluation, &inputs.network),
      done);
  REAP_TRY_OR(run_files_check_network(context->comm, &inputs.network, "MODEL's data", &files), done);
  REAP_TRY_OR(run_files_announce(context->comm, &files), done);
  REAP_TRY_OR(prune_inputs_open(context->comm, o, &inputs), done);
  if (prune_options_bounded(o)) {
    REAP_TRY_OR(search(&job, &tried), done);
  } else {
    REAP_TRY_OR(prune_run_open(&job), done);
    REAP_TRY_OR(image_range_check_original(context->comm, &inputs.network, inputs.calibration, o->settings.backend),
                done);
    if (o->dry_run) {
      status = show_sizes(&job);
      goto done;
    }
    REAP_TRY_OR(reap_session_hash_data(job.session), done);
    REAP_TRY_OR(prune_run_do(&job), done);
  }
  reap_progress_report(job.progress, "write", NULL, 0, 1, NULL);
  REAP_TRY_OR(image_range_warn(context->comm, inputs.calibration), done);
  if (o->evaluation && (!o->calibration || strcmp(o->evaluation, o->calibration) != 0)) {
    REAP_TRY_OR(image_range_warn(context->comm, inputs.evaluation), done);
    image_range_warn_original(&job.before, inputs.evaluation);
  }
  image_range_warn_figures(&job.after, o->evaluation);
  stop_request_outputs();
  if (reap_comm_rank(context->comm) == 0) status = prune_output_write(&job);
  status = reap_comm_agree(context->comm, status);
  run_files_warn(&files);
  if (status == REAP_OK) reap_session_remove_checkpoint(job.session); /* last: until then a kill loses little */
done:
  progress_view_finish();
  run_files_clear(&files);
  prune_run_clear(&job);
  prune_inputs_close(&inputs);
  return status;
}

int command_prune(const command_context *context) {
  prune_options o = PRUNE_DEFAULTS("reap prune");
  option options[PRUNE_OPTIONS_MOST];
  static const char *const names[] = {"MODEL"};
  prune_options_table(&o, options);
  command_line line = {"reap prune", options, 1, names, .positional = &o.model};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  command_set_log(context, &o.common);
  if (o.dry_run) prune_options_drop_outputs(&o);
  REAP_TRY(prune_options_read(&o));
  REAP_TRY(prune_options_check(&o));
  return run(context, &o);
}
