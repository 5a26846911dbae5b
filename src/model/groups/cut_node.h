/* What nodes other than layers hold for each channel, when channels leave; private to src/model. Local. */
#ifndef REAP_MODEL_CUT_NODE_H
#define REAP_MODEL_CUT_NODE_H

#include "model/edits.h"
#include "reap/graph.h"
#include "reap/groups.h"

/* Bit of reap_node.cut beside those of the inputs. */
static const unsigned REAP_CUT_ATTRIBUTES = 1u << 31;

/* Keeps entries[count] along `axis` of a float tensor, in place. */
void reap_cut_tensor(reap_tensor *tensor, int axis, int64_t count, const int64_t *entries);

/* What the node of `member` has for the entries there: constants, and numbers and places of channels in constants and
 * attributes. Of its group the units with keep[unit] true stay, at the member entries[count]. Shapes are those from
 * before. */
int reap_cut_node(reap_graph *graph, const reap_groups *groups, const reap_member *member, int group, const bool *keep,
                  int64_t count, const int64_t *entries);

/* Sets an integer attribute that the node has, and marks it as cut. */
void reap_cut_attribute(reap_node *node, const char *name, int64_t value);

/* Appends what has to change in the file for all that was cut. */
int reap_cut_node_edits(const reap_graph *graph, const reap_node *node, reap_edits *edits);

#endif
