/* Images (or what else a network takes) with labels, in the HDF5 format of datasets/README.md.
 *
 * Every rank opens the file for itself and reads its own share, so that ranks never wait for each other. Local calls.
 */
#ifndef REAP_DATASET_H
#define REAP_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"
#include "reap/graph.h"

REAP_API_BEGIN

typedef struct reap_dataset reap_dataset;

/* REAP_ERR_INPUT names the file and what is wrong with it. */
int reap_dataset_open(const char *path, reap_dataset **out);
void reap_dataset_close(reap_dataset **dataset);

const char *reap_dataset_path(const reap_dataset *dataset);

/* Data for the network's input of that name (with "." for "/"), 0, 1, ...; -1 if there are none. A file of "images" has
 * data for any, in place 0. */
int reap_dataset_find(const reap_dataset *dataset, const char *name);

/* Name of the input that data `input` are for, borrowed; NULL for "images", and past the last. */
const char *reap_dataset_input_name(const reap_dataset *dataset, int input);

/* Shape of data `input` of all images, [images, channels, height, width] or of another rank; the rank is returned. */
int reap_dataset_shape(const reap_dataset *dataset, int input, int64_t dims[REAP_MAX_RANK]);

/* Number of images. */
int64_t reap_dataset_images(const reap_dataset *dataset);

/* True if data `input` are whole numbers that the network is to see as they are: bytes with scale 1, mean 0 and std 1,
 * or of another integer type. */
bool reap_dataset_is_raw(const reap_dataset *dataset, int input);

bool reap_dataset_has_labels(const reap_dataset *dataset);

/* Data `input` of images [first, first + count) as the network sees them: float32, normalised, [count, height, width,
 * channels] with `channels_last` or else [count, channels, height, width], and likewise of other ranks. REAP_ERR_INPUT
 * names the file and the image if one holds a NaN or an infinity, or a whole number that float32 cannot hold. */
int reap_dataset_read(reap_dataset *dataset, int input, int64_t first, int64_t count, bool channels_last,
                      float *images);

/* Smallest and largest value of all images read so far, as the network sees them; infinities of the wrong sign before
 * the first. */
void reap_dataset_range(const reap_dataset *dataset, double *least, double *greatest);

/* Labels [first, first + count). */
int reap_dataset_read_labels(reap_dataset *dataset, int64_t first, int64_t count, int64_t *labels);

REAP_API_END

#endif
