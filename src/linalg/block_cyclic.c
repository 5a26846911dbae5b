/* ScaLAPACK and BLACS: the only file that names their symbols; see block_cyclic.h. */
#include "block_cyclic.h"

#include <limits.h>

#include "comm/waiting.h"
#include "reap/comm.h"
#include "reap/error.h"
#include "reap/memory.h"

int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
void Cblacs_gridinfo(int context, int *rows, int *columns, int *row, int *column);
void Cblacs_gridexit(int context);
int numroc_(const int *n, const int *nb, const int *iproc, const int *isrcproc, const int *nprocs);
void descinit_(int *desc, const int *m, const int *n, const int *mb, const int *nb, const int *irsrc, const int *icsrc,
               const int *ictxt, const int *lld, int *info);
void pdpotrf_(const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desca, int *info);
void pdpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a, const int *ia, const int *ja,
              const int *desca, double *b, const int *ib, const int *jb, const int *descb, int *info);
void pdpotri_(const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desca, int *info);
void pdsyrk_(const char *uplo, const char *trans, const int *n, const int *k, const double *alpha, const double *a,
             const int *ia, const int *ja, const int *desca, const double *beta, double *c, const int *ic,
             const int *jc, const int *descc);

enum { DESCRIPTOR = 9 };
static const int ZERO = 0, ONE = 1;

#define CALL(routine, ...) (reap_comm_within(routine), (__VA_ARGS__), reap_comm_within(NULL))

struct reap_grid {
  const reap_comm *comm;
  int handle, context;
  int rows, columns, row, column;
};

struct reap_block_cyclic {
  const reap_grid *grid;
  int rows, columns, row_block, column_block;
  int local_rows, local_columns, ld;
  int descriptor[DESCRIPTOR];
  double *data;
};

int reap_grid_create(const reap_comm *comm, reap_grid **out) {
  reap_grid *grid = NULL;
  REAP_TRY(reap_comm_alloc(comm, &grid, 1, sizeof *grid));
  grid->comm = comm;
  reap_comm_grid(reap_comm_size(comm), &grid->rows, &grid->columns);
  grid->handle = Csys2blacs_handle(reap_comm_mpi(comm));
  grid->context = grid->handle;
  CALL("BLACS", Cblacs_gridinit(&grid->context, "Row", grid->rows, grid->columns));
  int rows, columns;
  Cblacs_gridinfo(grid->context, &rows, &columns, &grid->row, &grid->column);
  *out = grid;
  return REAP_OK;
}

void reap_grid_destroy(reap_grid **grid) {
  if (!*grid) return;
  if (reap_comm_failure() == REAP_OK) {
    if ((*grid)->context >= 0) Cblacs_gridexit((*grid)->context);
    Cfree_blacs_system_handle((*grid)->handle);
  }
  reap_free(grid);
}

void reap_grid_shape(const reap_grid *grid, int *rows, int *columns, int *row, int *column) {
  *rows = grid->rows;
  *columns = grid->columns;
  *row = grid->row;
  *column = grid->column;
}

const reap_comm *reap_grid_comm(const reap_grid *grid) { return grid ? grid->comm : NULL; }

static int to_int(int64_t value, int *out) {
  if (value < 1 || value > INT_MAX)
    return reap_error(REAP_ERR_RESOURCE,
                      "a distributed matrix dimension of %lld does not fit the integers of ScaLAPACK",
                      (long long)value);
  *out = (int)value;
  return REAP_OK;
}

static int lay_out(reap_block_cyclic *m) {
  const reap_grid *grid = m->grid;
  m->local_rows = numroc_(&m->rows, &m->row_block, &grid->row, &ZERO, &grid->rows);
  m->local_columns = numroc_(&m->columns, &m->column_block, &grid->column, &ZERO, &grid->columns);
  m->ld = m->local_rows > 0 ? m->local_rows : 1;
  int64_t count = 0;
  REAP_TRY(reap_multiply(m->ld, m->local_columns, &count));
  /* LP64 ScaLAPACK computes offsets into the local part with int. */
  if (count > INT_MAX)
    return reap_error(REAP_ERR_RESOURCE, "a rank's part of a %d x %d matrix passes 2^31 elements; use more ranks",
                      m->rows, m->columns);
  int info = 0;
  descinit_(m->descriptor, &m->rows, &m->columns, &m->row_block, &m->column_block, &ZERO, &ZERO, &grid->context, &m->ld,
            &info);
  if (info != 0) return reap_error(REAP_ERR_INTERNAL, "DESCINIT: argument %d is wrong", -info);
  return reap_calloc(&m->data, count, sizeof *m->data);
}

int reap_block_cyclic_create(const reap_grid *grid, int64_t rows, int64_t columns, int64_t row_block,
                             int64_t column_block, reap_block_cyclic **out) {
  reap_block_cyclic *m = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_calloc(&m, 1, sizeof *m), agree);
  m->grid = grid;
  REAP_TRY_OR(to_int(rows, &m->rows), agree);
  REAP_TRY_OR(to_int(columns, &m->columns), agree);
  REAP_TRY_OR(to_int(row_block, &m->row_block), agree);
  REAP_TRY_OR(to_int(column_block, &m->column_block), agree);
  status = lay_out(m);
agree:
  status = reap_comm_agree(grid->comm, status);
  if (status != REAP_OK) reap_block_cyclic_destroy(&m);
  *out = m;
  return status;
}

void reap_block_cyclic_destroy(reap_block_cyclic **matrix) {
  if (!*matrix) return;
  reap_free(&(*matrix)->data);
  reap_free(matrix);
}

double *reap_block_cyclic_local(reap_block_cyclic *m, int64_t *rows, int64_t *columns, int64_t *ld) {
  *rows = m->local_rows;
  *columns = m->local_columns;
  *ld = m->ld;
  return m->data;
}

static int64_t to_global(int64_t local, int block, int place, int places) {
  return (local / block * places + place) * block + local % block;
}

int64_t reap_block_cyclic_row(const reap_block_cyclic *m, int64_t i) {
  return to_global(i, m->row_block, m->grid->row, m->grid->rows);
}

int64_t reap_block_cyclic_column(const reap_block_cyclic *m, int64_t j) {
  return to_global(j, m->column_block, m->grid->column, m->grid->columns);
}

int reap_block_cyclic_potrf(reap_block_cyclic *a, char uplo, int64_t order, int64_t *info) {
  int code = 0, n = 0;
  REAP_TRY(to_int(order, &n));
  CALL("PDPOTRF", pdpotrf_(&uplo, &n, a->data, &ONE, &ONE, a->descriptor, &code));
  if (code < 0) return reap_error(REAP_ERR_INTERNAL, "PDPOTRF: argument %d is wrong", -code);
  *info = code;
  return REAP_OK;
}

int reap_block_cyclic_potrf_lower(reap_block_cyclic *a, int64_t *info) {
  return reap_block_cyclic_potrf(a, 'L', a->rows, info);
}

int reap_block_cyclic_potrs_lower(reap_block_cyclic *a, reap_block_cyclic *b) {
  int code = 0;
  CALL("PDPOTRS", pdpotrs_("L", &a->rows, &b->columns, a->data, &ONE, &ONE, a->descriptor, b->data, &ONE, &ONE,
                           b->descriptor, &code));
  if (code != 0) return reap_error(REAP_ERR_INTERNAL, "PDPOTRS: argument %d is wrong", -code);
  return REAP_OK;
}

int reap_block_cyclic_potri(reap_block_cyclic *a, char uplo, int64_t order) {
  int code = 0, n = 0;
  REAP_TRY(to_int(order, &n));
  CALL("PDPOTRI", pdpotri_(&uplo, &n, a->data, &ONE, &ONE, a->descriptor, &code));
  if (code < 0) return reap_error(REAP_ERR_INTERNAL, "PDPOTRI: argument %d is wrong", -code);
  if (code > 0) return reap_error(REAP_ERR_NUMERIC, "PDPOTRI: the factor is singular at row %d", code);
  return REAP_OK;
}

int reap_block_cyclic_syrk_lower(reap_block_cyclic *v, reap_block_cyclic *c) {
  const double minus = -1, one = 1;
  if (v->rows != c->rows || v->row_block != c->row_block)
    return reap_error(REAP_ERR_INTERNAL, "PDSYRK: layouts of %d and %d rows do not fit", v->rows, c->rows);
  CALL("PDSYRK", pdsyrk_("L", "N", &c->rows, &v->columns, &minus, v->data, &ONE, &ONE, v->descriptor, &one, c->data,
                         &ONE, &ONE, c->descriptor));
  return REAP_OK;
}
