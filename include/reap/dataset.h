/* Images with labels, in the HDF5 format of datasets/README.md.
 *
 * Every rank opens the file for itself and reads its own share, so that ranks never wait for each other. Local calls.
 */
#ifndef REAP_DATASET_H
#define REAP_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"

REAP_API_BEGIN

typedef struct reap_dataset reap_dataset;

/* REAP_ERR_INPUT names the file and what is wrong with it. */
int reap_dataset_open(const char *path, reap_dataset **out);
void reap_dataset_close(reap_dataset **dataset);

const char *reap_dataset_path(const reap_dataset *dataset);

/* Number of images and their shape. */
void reap_dataset_shape(const reap_dataset *dataset, int64_t *images, int64_t *channels, int64_t *height,
                        int64_t *width);
bool reap_dataset_has_labels(const reap_dataset *dataset);

/* Images [first, first + count) as the network sees them: float32 [count, height, width, channels] (channels last),
 * normalised. REAP_ERR_INPUT names the file and the image if one holds a NaN or an infinity. */
int reap_dataset_read(reap_dataset *dataset, int64_t first, int64_t count, float *images);

/* Smallest and largest value of all images read so far, as the network sees them; infinities of the wrong sign before
 * the first. */
void reap_dataset_range(const reap_dataset *dataset, double *least, double *greatest);

/* Labels [first, first + count). */
int reap_dataset_read_labels(reap_dataset *dataset, int64_t first, int64_t count, int64_t *labels);

REAP_API_END

#endif
