/* Stored activations (format "reap-activations"): the rows X and Y of layers, float32, in one HDF5 file that all ranks
 * pack and rank 0 writes, chunked and compressed. */
#ifndef REAP_IO_ACTIVATIONS_FILE_H
#define REAP_IO_ACTIVATIONS_FILE_H

#include <stdint.h>

#include "origin.h"
#include "reap/comm.h"

/* ---- writing: every call is collective but destroy */

typedef struct reap_activations_file reap_activations_file;

/* Creates the file beside its name. */
int reap_activations_file_create(const reap_comm *comm, const char *path, const reap_origin *origin,
                                 reap_activations_file **out);

/* Begins a layer of `rows` rows in all: inputs [rows, channels * block], outputs [rows, m], image [rows], position
 * [rows, 2]. */
int reap_activations_file_begin(reap_activations_file *file, const char *layer, const char *node, int64_t channels,
                                int64_t block, int64_t m, int64_t rows);

/* Rows [first, first + count) of the layer begun; a rank that has nothing (left) takes part with count 0. The bytes of
 * one call have to stay below 1 GB on every rank. */
int reap_activations_file_write(reap_activations_file *file, int64_t first, int64_t count, const float *inputs,
                                const float *outputs, const int64_t *image, const int64_t *position);

/* Ends the layer; energy: the sum of all outputs squared. */
int reap_activations_file_end(reap_activations_file *file, double energy);

/* Closes, makes durable and renames. After a failure anywhere call destroy instead, on all ranks. */
int reap_activations_file_commit(reap_activations_file **file);
void reap_activations_file_destroy(reap_activations_file **file);

/* Local. Tells how large a file of `bytes` before they are packed may become, and refuses one of all positions that no
 * disk would take (REAP_ERR_USAGE). positions: sampled of each image; 0: all. */
int reap_activations_check_size(const char *path, double bytes, int64_t positions);

/* ---- reading: local, every rank for itself */

typedef struct reap_activations_reader reap_activations_reader;

typedef struct reap_activations_layer {
  const char *name; /* owned by the reader */
  const char *node;
  int64_t channels, block, m, rows;
} reap_activations_layer;

/* REAP_ERR_INPUT names the file, the layer and what is wrong: nothing in the file is trusted. */
int reap_activations_open(const char *path, reap_activations_reader **out);
void reap_activations_close(reap_activations_reader **reader);
const reap_origin *reap_activations_origin(const reap_activations_reader *reader);
int reap_activations_layers(const reap_activations_reader *reader);
const reap_activations_layer *reap_activations_layer_at(const reap_activations_reader *reader, int layer);

/* Rows [first, first + count) of a layer. REAP_ERR_INPUT if one of them is not finite. */
int reap_activations_read(reap_activations_reader *reader, int layer, int64_t first, int64_t count, float *inputs,
                          float *outputs);

#endif
