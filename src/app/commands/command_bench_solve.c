/* reap bench solve: the solver on random statistics of a given size, against DGEMM on the same ranks.
 *
 * The statistics are those of an endless stream of rows x = A z + e, y = B'x + noise with A [n, RANK] random, e of
 * variance NOISE: G = N (A A' + NOISE I), C = G B with a random B of few columns dealt out to the outputs. Every piece
 * follows from A and B by a small product, so that no rank needs a whole matrix.
 *
 * Counted: n^3 (factor and inverse) + 2 n^2 m (weights) + (n^3 - r^3) / 3 + (n^2 - r^2) m (elimination down to r
 * columns); what the solver does beyond that (last weights, checks) takes time but is not counted. The statistics are
 * computed inside the solve, piece by piece. Their seconds are printed and subtracted (with several ranks the least of
 * them).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/json/json.h"
#include "app/report.h"
#include "base/random.h"
#include "base/timer.h"
#include "linalg/block_cyclic.h"
#include "linalg/dense.h"
#include "linalg/placement.h"
#include "linalg/symmetric.h"
#include "prune/estimate/run_estimate.h"
#include "prune/sizes/budget.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

static const char *const SYNOPSIS =
    "reap bench solve [--n N --block B --m M --keep F --solver local|scalapack] [--plain] [--json]";
static const char *const ABOUT =
    "Solves a layer of N columns and M outputs with random statistics, and compares the counted operations per\n"
    "second with those of DGEMM on all ranks at once in the same run, with the plain recursion (one full update\n"
    "of H and W per removal), and with the library's factorisation and inverse alone.\n";

enum { RANK = 96, SIGNALS = 64 };
static const double NOISE = 0.2, SAMPLES = 100000;

typedef struct bench_options {
  int64_t n, block, m;
  double keep;
  const char *solver, *route;
  bool plain, no_plain, no_factor, updates, json;
  common_options common;
} bench_options;

/* ------------------------------------------------------------------ made-up statistics */

typedef struct made_up {
  int64_t n, m;
  double *a;                /* [n, RANK] column-major */
  double *signals, *mixing; /* C = signals [n, SIGNALS] mixing [SIGNALS, m] */
  double *diagonal, *sum_x, *sum_y;
  double energy;
  double seconds; /* spent in making pieces */
} made_up;

static void made_up_clear(made_up *u) {
  reap_free(&u->a);
  reap_free(&u->signals);
  reap_free(&u->mixing);
  reap_free(&u->diagonal);
  reap_free(&u->sum_x);
  reap_free(&u->sum_y);
}

static int gram_piece(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                      int64_t ld) {
  made_up *u = context;
  const double start = reap_seconds();
  REAP_TRY(reap_dgemm('N', 'T', rows, columns, RANK, SAMPLES, u->a + row, u->n, u->a + column, u->n, 0, out, ld));
  for (int64_t j = 0; j < columns; j++)
    if (column + j >= row && column + j < row + rows) out[column + j - row + j * ld] = u->diagonal[column + j];
  u->seconds += reap_seconds() - start;
  return REAP_OK;
}

static int cross_piece(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                       int64_t ld) {
  made_up *u = context;
  const double start = reap_seconds();
  const int status = reap_dgemm('N', 'N', rows, columns, SIGNALS, 1, u->signals + row, u->n,
                                u->mixing + column * SIGNALS, SIGNALS, 0, out, ld);
  u->seconds += reap_seconds() - start;
  return status;
}

/* signals = G T with T [n, SIGNALS] random: C = G (T mixing), so B = T mixing, and the energy is tr(B'GB) and some
 * noise. */
static int make_signals(made_up *u, reap_random *r) {
  double *t = NULL, *inner = NULL, *square = NULL, *mixed = NULL;
  const int64_t n = u->n;
  int status = reap_alloc(&t, n * SIGNALS, sizeof *t);
  if (status == REAP_OK) status = reap_alloc(&inner, RANK * SIGNALS, sizeof *inner);
  if (status == REAP_OK) status = reap_alloc(&square, SIGNALS * SIGNALS, sizeof *square);
  if (status == REAP_OK) status = reap_alloc(&mixed, SIGNALS * u->m, sizeof *mixed);
  if (status == REAP_OK) {
    for (int64_t i = 0; i < n * SIGNALS; i++) t[i] = reap_random_uniform(r) - 0.5;
    for (int64_t i = 0; i < SIGNALS * u->m; i++) u->mixing[i] = reap_random_uniform(r) - 0.5;
    status = reap_dgemm('T', 'N', RANK, SIGNALS, n, SAMPLES, u->a, n, t, n, 0, inner, RANK);
    memcpy(u->signals, t, (size_t)(n * SIGNALS) * sizeof *t);
  }
  if (status == REAP_OK)
    status = reap_dgemm('N', 'N', n, SIGNALS, RANK, 1, u->a, n, inner, RANK, SAMPLES * NOISE, u->signals, n);
  if (status == REAP_OK) status = reap_dgemm('T', 'N', SIGNALS, SIGNALS, n, 1, t, n, u->signals, n, 0, square, SIGNALS);
  if (status == REAP_OK)
    status = reap_dgemm('N', 'N', SIGNALS, u->m, SIGNALS, 1, square, SIGNALS, u->mixing, SIGNALS, 0, mixed, SIGNALS);
  for (int64_t i = 0; status == REAP_OK && i < SIGNALS * u->m; i++) u->energy += u->mixing[i] * mixed[i];
  u->energy *= 1.05;
  reap_free(&t);
  reap_free(&inner);
  reap_free(&square);
  reap_free(&mixed);
  return status;
}

static int made_up_create(const bench_options *o, made_up *u) {
  reap_random r = reap_random_init(1, (uint64_t)o->n, (uint64_t)o->m);
  *u = (made_up){.n = o->n, .m = o->m};
  REAP_TRY(reap_alloc(&u->a, o->n * RANK, sizeof *u->a));
  REAP_TRY(reap_alloc(&u->signals, o->n * SIGNALS, sizeof *u->signals));
  REAP_TRY(reap_alloc(&u->mixing, SIGNALS * o->m, sizeof *u->mixing));
  REAP_TRY(reap_alloc(&u->diagonal, o->n, sizeof *u->diagonal));
  REAP_TRY(reap_calloc(&u->sum_x, o->n, sizeof *u->sum_x));
  REAP_TRY(reap_calloc(&u->sum_y, o->m, sizeof *u->sum_y));
  for (int64_t i = 0; i < o->n * RANK; i++) u->a[i] = (reap_random_uniform(&r) - 0.5) / sqrt(RANK / 12.0);
  for (int64_t i = 0; i < o->n; i++) {
    u->diagonal[i] = NOISE;
    for (int64_t k = 0; k < RANK; k++) u->diagonal[i] += u->a[i + k * o->n] * u->a[i + k * o->n];
    u->diagonal[i] *= SAMPLES;
  }
  return make_signals(u, &r);
}

static reap_gram source_of(const bench_options *o, made_up *u) {
  return (reap_gram){.channels = o->n / o->block,
                     .block = o->block,
                     .n = o->n,
                     .m = o->m,
                     .samples = (int64_t)SAMPLES,
                     .energy = u->energy,
                     .diagonal = u->diagonal,
                     .diagonal_step = 1,
                     .sum_x = u->sum_x,
                     .sum_y = u->sum_y,
                     .context = u,
                     .gram = gram_piece,
                     .cross = cross_piece};
}

/* ------------------------------------------------------------------ yardsticks */

static double slowest(const reap_comm *comm, double seconds) {
  return reap_comm_max(comm, &seconds, 1) == REAP_OK ? seconds : 0;
}

/* Factor and inverse by LAPACK on one rank or by ScaLAPACK on all, n^3 flops; 0 if it does not fit. */
static int measure_factor(const bench_options *o, const reap_comm *comm, const reap_gram *source, bool distributed,
                          double *seconds) {
  reap_grid *grid = NULL;
  reap_symmetric *matrix = NULL;
  int64_t info = 0;
  int status = distributed ? reap_grid_create(comm, &grid) : REAP_OK;
  if (status == REAP_OK) status = reap_symmetric_create(grid, o->n / o->block, o->block, &matrix);
  if (status == REAP_OK) status = reap_symmetric_set(matrix, source->gram, source->context);
  if (status == REAP_OK) status = reap_comm_barrier(comm);
  const double start = reap_seconds();
  if (status == REAP_OK) status = reap_symmetric_factor(matrix, REAP_LOWER, o->n / o->block, &info);
  if (status == REAP_OK) status = reap_symmetric_invert(matrix, o->n / o->block);
  *seconds = slowest(comm, reap_seconds() - start);
  reap_symmetric_destroy(&matrix);
  reap_grid_destroy(&grid);
  return status;
}

/* One symmetric update of rank k on all ranks, n^2 k flops: PDSYRK on the block-cyclic matrix. */
static int measure_pdsyrk(const bench_options *o, const reap_grid *grid, int64_t k, double *seconds) {
  const int64_t piece = o->block > 128 ? o->block : 128 / o->block * o->block;
  reap_block_cyclic *v = NULL, *c = NULL;
  int64_t rows, columns, ld;
  int status = reap_block_cyclic_create(grid, o->n, k, piece, piece, &v);
  if (status == REAP_OK) status = reap_block_cyclic_create(grid, o->n, o->n, piece, piece, &c);
  if (status == REAP_OK) {
    double *part = reap_block_cyclic_local(v, &rows, &columns, &ld);
    for (int64_t i = 0; i < ld * columns; i++) part[i] = (double)(i % 17) - 8;
    status = reap_comm_barrier(reap_grid_comm(grid));
  }
  for (int again = 0; status == REAP_OK && again < 3; again++) {
    const double start = reap_seconds();
    status = reap_block_cyclic_syrk_lower(v, c);
    const double took = slowest(reap_grid_comm(grid), reap_seconds() - start);
    if (again == 0 || took < *seconds) *seconds = took;
  }
  reap_block_cyclic_destroy(&v);
  reap_block_cyclic_destroy(&c);
  return status;
}

/* The same as the sweeps of the factorisation do it: rows of the panel to all ranks, then a local update. */
static int measure_panel(const bench_options *o, const reap_grid *grid, int64_t k, double *seconds) {
  const int64_t slots = o->n / o->block;
  reap_symmetric *matrix = NULL;
  const int ranks = reap_comm_size(reap_grid_comm(grid));
  double *v = NULL;
  int64_t *share = NULL, first;
  int status = reap_symmetric_create(grid, slots, o->block, &matrix);
  if (status == REAP_OK) status = reap_comm_agree(reap_grid_comm(grid), reap_calloc(&share, ranks + 1, sizeof *share));
  for (int r = 0; status == REAP_OK && r < ranks; r++) reap_comm_share(slots, r, ranks, &first, &share[r + 1]);
  if (status == REAP_OK) status = reap_comm_agree(reap_grid_comm(grid), reap_alloc(&v, o->n * k, sizeof *v));
  for (int64_t i = 0; status == REAP_OK && i < o->n * k; i++) v[i] = (double)(i % 17) - 8;
  if (status == REAP_OK) status = reap_comm_barrier(reap_grid_comm(grid));
  for (int again = 0; status == REAP_OK && again < 3; again++) {
    const double start = reap_seconds();
    status = reap_symmetric_collect(matrix, share, k, v); /* which row is which is no matter here */
    if (status == REAP_OK) status = reap_symmetric_update(matrix, slots, k, v, o->n);
    const double took = slowest(reap_grid_comm(grid), reap_seconds() - start);
    if (again == 0 || took < *seconds) *seconds = took;
  }
  reap_free(&v);
  reap_free(&share);
  reap_symmetric_destroy(&matrix);
  return status;
}

enum { UPDATE_WIDTH = 256 };

static int measure_updates(const bench_options *o, const reap_comm *comm, double *pblas, double *panel) {
  const int64_t k = o->n < UPDATE_WIDTH ? o->n : UPDATE_WIDTH;
  reap_grid *grid = NULL;
  int status = reap_grid_create(comm, &grid);
  if (status == REAP_OK) status = measure_pdsyrk(o, grid, k, pblas);
  if (status == REAP_OK) status = measure_panel(o, grid, k, panel);
  reap_grid_destroy(&grid);
  return status;
}

/* ------------------------------------------------------------------ results */

typedef struct figures {
  int ranks;
  bool distributed;
  double flops, dgemm;                  /* counted; flops per second of all ranks in use */
  double seconds, making_seconds;       /* without making the statistics up; that alone */
  double pdsyrk_seconds, panel_seconds; /* one update by either way; 0 if not asked for */
  double factor_seconds, plain_seconds, plain_eliminate, plain_updates;
  double peak, share;              /* bytes of the busiest rank; its part of H, C and the panels */
  double order_differs, error_gap; /* against the plain recursion; NaN without it */
  reap_path *path;
} figures;

static double counted(const bench_options *o, int64_t kept) {
  const double n = (double)o->n, m = (double)o->m, r = (double)(kept * o->block);
  return n * n * n + 2 * n * n * m + (n * n * n - r * r * r) / 3 + (n * n - r * r) * m;
}

static void print_row(const char *name, double seconds, double flops, double dgemm) {
  if (seconds > 0)
    printf("%-34s %10.3f s %8.1f GF/s %7.3f of DGEMM\n", name, seconds, flops / seconds / 1e9, flops / seconds / dgemm);
}

static void print_table(const bench_options *o, const figures *f) {
  const reap_path *p = f->path;
  const double n = (double)o->n;
  printf("n %lld = %lld channels x %lld, m %lld, %lld channels kept, %s on %d rank%s\n", (long long)o->n,
         (long long)p->channels, (long long)o->block, (long long)o->m, (long long)p->n_kept,
         f->distributed ? "scalapack" : "local", f->ranks, f->ranks == 1 ? "" : "s");
  printf("BLAS: %s\n", reap_blas_name());
  printf("%-34s %20.1f GF/s\n", f->ranks == 1 ? "DGEMM" : "DGEMM, all ranks at once", f->dgemm / 1e9);
  print_row("solve (counted operations)", f->seconds, f->flops, f->dgemm);
  printf("  set-up %.3f, factor, inverse, weights %.3f, elimination %.3f (updates %.3f), last weights %.3f s\n",
         p->seconds.set_up, p->seconds.factor, p->seconds.eliminate, p->seconds.updates, p->seconds.weights);
  printf("  and %.3f s to make the statistics, not counted above\n", f->making_seconds);
  print_row(f->distributed ? "PDPOTRF + PDPOTRI" : "DPOTRF + DPOTRI", f->factor_seconds, n * n * n, f->dgemm);
  const double update = n * n * fmin(n, UPDATE_WIDTH);
  print_row("one update by PDSYRK", f->pdsyrk_seconds, update, f->dgemm);
  print_row("the same by panel broadcast", f->panel_seconds, update, f->dgemm);
  if (f->plain_seconds > 0)
    printf("%-34s %10.3f s, elimination %.3f (updates of H and W alone %.3f): %.1f (%.1f) times ours\n",
           "plain recursion", f->plain_seconds, f->plain_eliminate, f->plain_updates,
           f->plain_eliminate / p->seconds.eliminate, f->plain_updates / p->seconds.eliminate);
  if (f->plain_seconds > 0)
    printf("  order differs at %.0f removals, J by %.1e of the energy\n", f->order_differs, f->error_gap);
  printf("%-34s %10.0f MB a rank, share of H, C and panels %.0f MB: %.2f times\n", "peak memory", f->peak / 1e6,
         f->share / 1e6, f->peak / f->share);
  printf("rcond %.1e, drift %.1e, refreshed %lld times\n", p->rcond, p->drift, (long long)p->refreshes);
}

static int print_json(const command_context *context, const bench_options *o, const figures *f) {
  cJSON *report = report_create(context, "reap-bench", REAP_BACKEND_AUTO);
  cJSON *seconds = cJSON_AddObjectToObject(report, "seconds");
  JSON_NUMBERS(report, {"n", (double)o->n}, {"block", (double)o->block}, {"m", (double)o->m},
               {"kept", (double)f->path->n_kept});
  cJSON_AddStringToObject(report, "solver", f->distributed ? "scalapack" : "local");
  cJSON_AddNumberToObject(report, "ranks_used", f->ranks);
  JSON_NUMBERS(seconds, {"total", f->seconds}, {"making_statistics", f->making_seconds},
               {"factor", f->path->seconds.factor}, {"eliminate", f->path->seconds.eliminate},
               {"weights", f->path->seconds.weights}, {"potrf_potri", f->factor_seconds > 0 ? f->factor_seconds : NAN},
               {"update_pdsyrk", f->pdsyrk_seconds > 0 ? f->pdsyrk_seconds : NAN},
               {"update_panel", f->panel_seconds > 0 ? f->panel_seconds : NAN},
               {"plain", f->plain_seconds > 0 ? f->plain_seconds : NAN},
               {"plain_eliminate", f->plain_seconds > 0 ? f->plain_eliminate : NAN},
               {"plain_updates", f->plain_seconds > 0 ? f->plain_updates : NAN});
  JSON_NUMBERS(report, {"flops", f->flops}, {"dgemm_flops_per_second", f->dgemm},
               {"share_of_dgemm", f->flops / f->seconds / f->dgemm}, {"error_gap", f->error_gap},
               {"peak_bytes", f->peak}, {"share_bytes", f->share}, {"rcond", f->path->rcond},
               {"drift", f->path->drift});
  char *text = NULL;
  int status = json_print(report, true, &text);
  if (status == REAP_OK) puts(text);
  reap_free(&text);
  cJSON_Delete(report);
  return status;
}

/* ------------------------------------------------------------------ runs */

/* The plain recursion wants moments in memory. */
static int run_plain(const bench_options *o, const reap_gram *source, figures *f) {
  reap_moments *s = NULL;
  reap_path *plain = NULL;
  REAP_TRY(reap_moments_create(source->channels, source->block, source->m, &s));
  s->samples = source->samples;
  s->energy = source->energy;
  int status = gram_piece(source->context, 0, o->n, 0, o->n, s->gram, o->n);
  reap_mirror_lower(o->n, s->gram, o->n);
  for (int64_t i = 0; status == REAP_OK && i < o->n; i++) /* row-major: one row is a column of one element each */
    status = reap_dgemm('N', 'N', 1, o->m, SIGNALS, 1, ((made_up *)source->context)->signals + i, o->n,
                        ((made_up *)source->context)->mixing, SIGNALS, 0, s->cross + i * o->m, 1);
  const double start = reap_seconds();
  const reap_gram gram = reap_gram_of(s);
  if (status == REAP_OK)
    status = reap_solve_plain(&gram, f->path->n_kept, REAP_DEFAULT_RIDGE, "plain recursion", &plain);
  f->plain_seconds = reap_seconds() - start;
  if (status == REAP_OK) {
    f->plain_eliminate = plain->seconds.eliminate;
    f->plain_updates = plain->seconds.updates;
    f->order_differs = f->error_gap = 0;
    for (int64_t i = 0; i < plain->n_removed; i++) {
      f->order_differs += plain->order[i] != f->path->order[i];
      f->error_gap = fmax(f->error_gap, fabs(plain->error[i] - f->path->error[i]) / plain->energy);
    }
  }
  reap_path_destroy(&plain);
  reap_moments_destroy(&s);
  return status;
}

/* Bytes that a rank cannot do without: its part of H (with K where that is carried), of C and of the largest factor
 * panel V, which has a row for every column still there and a column for every one removed; and the columns of a stage.
 */
static double share_of(const bench_options *o, int ranks, int64_t kept) {
  const double n = (double)o->n, m = (double)o->m, removed = n - (double)(kept * o->block);
  const double panel = removed < n / 2 ? removed * (n - removed) : n * n / 4,
               stage = fmin(fmax(n / 32, 64), 192) + (double)o->block;
  return 8 * ((n * n + n * m + panel + 3 * n * stage) / ranks + n * stage);
}

static int run_solver(const bench_options *o, const reap_comm *comm, const reap_gram *source, bool distributed,
                      figures *f) {
  const reap_solve_options options = {.comm = comm,
                                      .solver = distributed ? REAP_SOLVER_SCALAPACK : REAP_SOLVER_LOCAL,
                                      .ridge = REAP_DEFAULT_RIDGE,
                                      .route = strcmp(o->route, "weights") == 0   ? REAP_ROUTE_WEIGHTS
                                               : strcmp(o->route, "product") == 0 ? REAP_ROUTE_PRODUCT
                                                                                  : REAP_ROUTE_AUTO};
  const int64_t kept = reap_budget_round(o->keep, source->channels);
  made_up *u = source->context;
  REAP_TRY(reap_comm_barrier(comm));
  const double start = reap_seconds();
  REAP_TRY(reap_solve(source, kept, &options, "bench", &f->path));
  f->seconds = slowest(comm, reap_seconds() - start);
  f->making_seconds = -slowest(comm, -u->seconds);
  f->seconds -= f->making_seconds;
  f->flops = counted(o, kept);
  f->peak = (double)reap_memory_peak_resident(); /* the process with its libraries */
  f->share = share_of(o, distributed ? reap_comm_size(comm) : 1, kept);
  return reap_comm_max(comm, &f->peak, 1);
}

/* All ranks if distributed, else rank 0 alone while the others wait: `comm` is of those that work. */
static int measure(const command_context *context, const bench_options *o, const reap_comm *comm, bool distributed) {
  made_up u = {0};
  figures f = {.ranks = reap_comm_size(comm), .distributed = distributed, .order_differs = NAN, .error_gap = NAN};
  int status = reap_comm_agree(comm, made_up_create(o, &u));
  const reap_gram source = source_of(o, &u);
  if (status == REAP_OK) status = run_solver(o, comm, &source, distributed, &f);
  if (status == REAP_OK) status = reap_dgemm_rate(comm, o->n < 2048 ? o->n : 2048, &f.dgemm);
  f.dgemm *= reap_comm_size(comm); /* of all ranks */
  if (status == REAP_OK && !o->no_factor) status = measure_factor(o, comm, &source, distributed, &f.factor_seconds);
  if (status == REAP_OK && o->updates) status = measure_updates(o, comm, &f.pdsyrk_seconds, &f.panel_seconds);
  const bool plain = (o->plain || (o->n <= 4608 && o->m <= 1024 && !o->no_plain)) && reap_comm_rank(comm) == 0;
  if (status == REAP_OK && plain) status = run_plain(o, &source, &f);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK && reap_comm_rank(comm) == 0) {
    if (o->json)
      status = print_json(context, o, &f);
    else
      print_table(o, &f);
  }
  reap_path_destroy(&f.path);
  made_up_clear(&u);
  return status;
}

static int run(const command_context *context, const bench_options *o) {
  reap_comm *workers = NULL;
  REAP_TRY(command_set_up(context, &o->common));
  progress_view_finish(); /* nothing else is to run meanwhile */
  const bool distributed = reap_solver_choose(context->comm, (reap_solver)option_index(SOLVERS, o->solver), o->n,
                                              o->m) == REAP_SOLVER_SCALAPACK;
  const bool works = distributed || reap_comm_rank(context->comm) == 0;
  REAP_TRY(reap_comm_split(context->comm, works, &workers));
  int status = works ? measure(context, o, workers, distributed) : REAP_OK;
  reap_comm_destroy(&workers);
  return reap_comm_agree(context->comm, status);
}

int command_bench_solve(const command_context *context) {
  bench_options o = {
      .n = 2304, .block = 9, .m = 256, .keep = 0.5, .solver = "auto", .route = "auto", .common = COMMON_DEFAULTS};
  const option options[] = {
      {"--n", NULL, OPTION_INT, "N", "columns of the layer's inputs (default 2304)", &o.n, 1},
      {"--block", NULL, OPTION_INT, "B", "columns of a channel, a divisor of N (default 9)", &o.block, 1},
      {"--m", NULL, OPTION_INT, "M", "outputs (default 256)", &o.m, 1},
      {"--keep", NULL, OPTION_SHARE, "F", "share of the channels to keep (default 0.5)", &o.keep, 0},
      {"--solver", NULL, OPTION_CHOICE, SOLVERS, "one rank or all (default auto)", &o.solver, 0},
      {"--route", NULL, OPTION_CHOICE, "auto|weights|product",
       "matrix updated beside H: W, or W W' (default auto: counted cost)", &o.route, 0},
      {"--plain", NULL, OPTION_FLAG, NULL, "also run the plain recursion (default for N up to 4608, M up to 1024)",
       &o.plain, 0},
      {"--no-plain", NULL, OPTION_FLAG, NULL, "do not run it", &o.no_plain, 0},
      {"--no-factor", NULL, OPTION_FLAG, NULL, "do not run the library's factorisation and inverse alone", &o.no_factor,
       0},
      {"--updates", NULL, OPTION_FLAG, NULL,
       "also time one update of rank 256, by PDSYRK and by panel broadcasts as\n"
       "in the solver (needs two more matrices)",
       &o.updates, 0},
      {"--json", NULL, OPTION_FLAG, NULL, "print JSON instead of a table", &o.json, 0},
      COMMON_OPTIONS(o.common)};
  command_line line = {"reap bench solve", options, 0, NULL, .positional = NULL};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  if (o.n % o.block != 0) return reap_error(REAP_ERR_USAGE, "reap bench solve: --block has to divide --n");
  return run(context, &o);
}
