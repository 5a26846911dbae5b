/* Times of layers (reap bench layers) as JSON; private to src/app. Local.
 *
 *   { "format": "reap-latency", "version": 1, "model_sha256": ..., "whole_ms": milliseconds of one image,
 *     "layers": { "NAME": { "in": [sizes], "out": [sizes], "ms": [[...], ...] }, ... } }
 *
 * Sizes are channels of the prunable group on that side, 1 where there is none; ms[i][j] belongs to in[i], out[j].
 */
#ifndef REAP_APP_LATENCY_FILE_H
#define REAP_APP_LATENCY_FILE_H

#include "app/json/json.h"

#include "prune/estimate/latency.h"

/* REAP_ERR_INPUT names the file, the layer and what is wrong. The caller owns the result. */
int latency_file_read(const char *path, reap_latency **out);

/* The caller deletes it. */
cJSON *latency_file_make(const reap_latency *latency);

#endif
