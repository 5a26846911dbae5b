/* A model as its file has it, and the way back into a file.
 *
 * The ONNX message is kept as read, unknown fields included, so that what pruning does not touch is written back
 * unchanged; only nodes that no output follows from are left out. Local calls.
 */
#ifndef REAP_IO_ONNX_SOURCE_H
#define REAP_IO_ONNX_SOURCE_H

#include "model/edits.h"
#include "reap/graph.h"

typedef struct reap_source reap_source;

/* Reads an .onnx file (with or without external data) or a reap model file in HDF5, distinguished by their first
 * bytes. REAP_ERR_INPUT names the file and the reason; nothing in the file is trusted. External data must lie in
 * regular files below the model's folder. */
int reap_source_load(const char *path, reap_source **out);
void reap_source_destroy(reap_source **source);

const char *reap_source_path(const reap_source *source);

/* SHA-256 of the file (for external data: of the message and then of the tensors' data). */
const char *reap_source_hash(const reap_source *source);

/* Nodes of the file that no output of the network follows from. They are left out of the graph and of what is written,
 * with the initialisers that they alone read. A node's title is as in messages: "Conv /head/conv". */
int64_t reap_source_unused_count(const reap_source *source);
const char *reap_source_unused_node(const reap_source *source, int64_t index);

/* "3 nodes that no output of the network needs are left out: Conv /head/conv, ..." without an end of line. The caller
 * owns it; NULL if there are none. */
int reap_source_unused_text(const reap_source *source, char **text);

/* Names of the files that external data were read from, borrowed. */
int64_t reap_source_external_files(const reap_source *source);
const char *reap_source_external_file(const reap_source *source, int64_t index);

/* A source of its own, as `source` was read, without reading its file again, which may have changed. Both share the
 * bytes of tensors. Not after reap_source_apply(). */
int reap_source_copy(const reap_source *source, reap_source **out);

/* A new, unprepared graph; the caller owns it. float16 and bfloat16 become float32. REAP_ERR_INPUT names the node: see
 * reap_graph_add_node. */
int reap_source_graph(const reap_source *source, reap_graph **out);

/* Puts the edits into the message. A tensor that only the edited input uses is replaced under its own name; one
 * with other users (also through Identity nodes) stays, and the edited input gets a new one. Tensors and nodes
 * that nothing uses any more because of the edits are removed. Shapes that the file tells of tensors between nodes are
 * inferred anew, with the sizes that inputs have in `graph`, the edited network, or dropped if it is NULL. reap becomes
 * the file's producer; who was before is noted as "reap.made_from", reap's version as "reap", and
 * notes "reap.*" of an earlier run go. In a float16 or bfloat16
 * network new tensors have its type (REAP_ERR_NUMERIC names the one that holds a number too large for it). Once per
 * source, as edits count nodes as they were loaded; after a failure the source can only be destroyed. */
int reap_source_apply(reap_source *source, const reap_edits *edits, const reap_graph *graph);

/* Adds a note (metadata_props), or replaces the one of that key, in a source that reap_source_apply() has changed; one
 * that is as it was read stays so. */
int reap_source_note(reap_source *source, const char *key, const char *value);

/* Writes ONNX, beside its name and renamed when complete. Tensor data are embedded; those of a network past 2 GB go to
 * a second file, PATH.data, and what stood under both names is replaced. REAP_ERR_INPUT if a file cannot be written or
 * if PATH.data is a file that the source was read from, REAP_ERR_RESOURCE if the disk is full. */
int reap_source_write_onnx(const reap_source *source, const char *path);

/* The same with another limit than 2 GB, in bytes. */
int reap_source_write_onnx_within(const reap_source *source, const char *path, int64_t most);

#endif
