#include "allowance.h"

#include "node.h"
#include "reap/error.h"
#include "tensor.h"

/* Bytes held at once, and bytes made in all: fixed, and for each byte of the file's constants. */
static const int64_t HELD = (int64_t)96 << 20, HELD_SHARE = 8, MADE = (int64_t)512 << 20, MADE_SHARE = 32;

int64_t reap_tensor_bytes(const reap_tensor *tensor) {
  return tensor ? tensor->count * (tensor->dtype == REAP_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(int64_t)) : 0;
}

/* The file's constants are in memory, so that no sum of their sizes overflows. */
void reap_graph_note_file(reap_graph *graph, int64_t bytes) { graph->file_bytes += bytes; }

static int refuse(const reap_node *node, int64_t bytes, int64_t before, int64_t most, const char *what) {
  return reap_node_error(
      node,
      "its constant of %.3g MB and %s of %.3g MB would pass %.3g MB, the limit for a network of this size; "
      "simplify the network (onnxsim, say), or export it with constants of that size in the file",
      (double)bytes / 1e6, what, (double)before / 1e6, (double)most / 1e6);
}

int reap_graph_charge(reap_graph *graph, const reap_node *node, int64_t bytes) {
  const int64_t held = HELD + HELD_SHARE * graph->file_bytes, made = MADE + MADE_SHARE * graph->file_bytes;
  if (bytes > held - graph->held_bytes) return refuse(node, bytes, graph->held_bytes, held, "those computed before");
  if (bytes > made - graph->made_bytes) return refuse(node, bytes, graph->made_bytes, made, "all computed so far");
  graph->held_bytes += bytes;
  graph->made_bytes += bytes;
  return REAP_OK;
}

int reap_graph_charge_work(reap_graph *graph, const reap_node *node, int64_t bytes) {
  const int64_t made = MADE + MADE_SHARE * graph->file_bytes;
  if (bytes > made - graph->made_bytes) return refuse(node, bytes, graph->made_bytes, made, "all computed so far");
  graph->made_bytes += bytes;
  return REAP_OK;
}

void reap_graph_drop_constant(reap_graph *graph, int value) {
  reap_value *v = &graph->values[value];
  if (!v->constant) return;
  if (v->charged) graph->held_bytes -= reap_tensor_bytes(v->constant);
  v->charged = false;
  reap_tensor_destroy(&v->constant);
}
