/* A network ready to be computed: read from its file, prepared for blocks of images; what computes it, and how several
 * outputs are combined. */
#ifndef REAP_NETWORK_H
#define REAP_NETWORK_H

#include "reap/api.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"

REAP_API_BEGIN

/* What computes convolutions and matrix products. */
typedef enum reap_backend {
  REAP_BACKEND_AUTO,  /* oneDNN where it was built in, else plain */
  REAP_BACKEND_PLAIN, /* im2col and BLAS: the reference */
  REAP_BACKEND_ONEDNN /* REAP_ERR_USAGE if not built in */
} reap_backend;

/* Local. Name and version of the convolution library in use ("oneDNN 2.6.3", "plain"). */
const char *reap_backend_name(reap_backend backend);

/* Local. Threads that this process computes with, from now on: one unless it is called. REAP_ERR_RESOURCE if there is
 * no room for what they need. */
int reap_kernels_set_threads(int threads);

/* How divergences of several outputs are combined. */
typedef enum reap_measure {
  REAP_MEASURE_LARGEST, /* the largest one counts */
  REAP_MEASURE_SUM      /* their sum counts */
} reap_measure;

/* How images held out are seen where they stand for new ones (src/exec/views.h). */
enum { REAP_VIEW_FLIPS = 1, REAP_VIEW_SHIFTS = 2, REAP_VIEW_MIXES = 4, REAP_VIEWS_ALL = 7 };

/* The network as its file has it. */
typedef struct reap_source reap_source;

typedef struct reap_network {
  reap_source *source;
  reap_graph *graph; /* graph->batch images per block: a property of the network, the same on all ranks */
  int64_t sizes[REAP_MOST_INPUTS][REAP_MAX_RANK]; /* along axes of inputs that the file leaves free; 0 for others */
} reap_network;

/* Collective. Reads an .onnx or reap .h5 file on every rank and makes sure that all read the same. A network exported
 * for a fixed batch keeps that batch as its block size. */
int reap_network_load(const reap_comm *comm, const char *path, reap_network *out);

/* The same for the images of a data-set file (NULL: none are known): sizes that the network leaves free are theirs. */
int reap_network_load_for(const reap_comm *comm, const char *path, const char *images, reap_network *out);
void reap_network_clear(reap_network *network);

/* Local. Prepares the network anew for blocks of `batch` images, so that two networks share their blocks.
 * REAP_ERR_INPUT if its file fixes another batch. */
int reap_network_set_batch(reap_network *network, int64_t batch);

/* Local. Says what outputs are, "NAME=scores,NAME=values", where their form would tell otherwise: scores, [N, classes],
 * are compared by the KL divergence of their soft-max, values by their squared error. NULL: nothing. It holds for the
 * graph as it is now and for its copies, not beyond reap_network_set_batch(). REAP_ERR_USAGE for a name that is no
 * output of the network, for another word, and for scores of another shape. */
int reap_network_set_output_kinds(reap_network *network, const char *kinds);

/* REAP_ERR_INPUT naming both files if the images are not what the network takes. */
int reap_network_check_images(const reap_network *network, const reap_dataset *images);

REAP_API_END

#endif
