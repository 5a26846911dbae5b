/* Paths of all groups in HDF5 (format "reap-paths", version 1). Local calls.
 *
 * Root attributes: model_sha256, calibration_sha256 ("" where unknown), images, measured_images, measure
 * (reap_path_measure_name), positions (0: all), seed, ridge, power, tilt (joint.h). groups/<group>/: order [removed]
 * int, error [removed] float64, sizes [measured] int, moved [measured] float64, with attributes layer, index (in the
 * order of the consumers), channels, block, columns (channels * block), outputs, samples, energy, ridge. See
 * group_paths.h for what they mean.
 */
#ifndef REAP_IO_PATHS_FILE_H
#define REAP_IO_PATHS_FILE_H

#include "model/groups/group_paths.h"

/* Written beside its name and renamed when complete. */
int reap_paths_file_write(const char *path, const reap_group_paths *paths);

/* Reads and checks; the caller owns the result. REAP_ERR_INPUT names the file, the group and the reason. */
int reap_paths_file_read(const char *path, reap_group_paths **out);

#endif
