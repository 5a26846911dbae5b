/* Private to src/io: an origin in the root attributes of a file. Local. */
#ifndef REAP_IO_ORIGIN_ATTRIBUTES_H
#define REAP_IO_ORIGIN_ATTRIBUTES_H

#include "io/hdf5/hdf5_util.h"
#include "origin.h"

/* Attributes model_sha256, inputs, held_out, positions (0: all), seed, images (number), and for every stretch of images
 * images_first, images_count, images_sha256. */
int reap_h5_write_origin(hid_t file, const reap_origin *origin);

/* REAP_ERR_INPUT names the file and what is missing or makes no sense. The caller clears *out. */
int reap_h5_read_origin(hid_t file, reap_origin *out);

#endif
