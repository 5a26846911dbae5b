/* Channels, their classes and where they stand: the lists that the rules of channel_rules.c fill; see channel_map.h.
 *
 * Cost: union-find over as many atoms as layers have outputs. A file of a few bytes can put tensors behind each other
 * until the channels are without number, so atoms and entries are limited for the graph as a whole.
 */
#include "channel_map.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

/* 48 MB of lists, 64 MB of atoms: ten times what the largest networks in use have. */
static const int64_t MOST_ENTRIES = 6000000, MOST_ATOMS = 2000000;

int reap_channel_map_count(reap_channel_map *map, int64_t entries) {
  if (entries > MOST_ENTRIES - map->entries)
    return reap_error(REAP_ERR_INPUT,
                      "%lld channels and %lld of the tensors before it are more than the %lld that are followed; "
                      "use a network with fewer channels or nodes",
                      (long long)entries, (long long)map->entries, (long long)MOST_ENTRIES);
  map->entries += entries;
  return REAP_OK;
}

int reap_channel_map_atoms(reap_channel_map *map, int64_t count, int64_t *first) {
  if (count > MOST_ATOMS - map->n_atoms)
    return reap_error(REAP_ERR_INPUT,
                      "%lld channels and %lld of the layers before it are more than the %lld that are followed; "
                      "use a network with fewer channels or layers",
                      (long long)count, (long long)map->n_atoms, (long long)MOST_ATOMS);
  if (map->n_atoms + count > map->capacity) {
    int64_t capacity = map->n_atoms + count > 2 * map->capacity ? map->n_atoms + count : 2 * map->capacity;
    REAP_TRY(reap_grow(&map->parent, map->n_atoms, capacity, sizeof *map->parent));
    REAP_TRY(reap_grow(&map->pins, map->n_atoms, capacity, sizeof *map->pins));
    map->capacity = capacity;
  }
  *first = map->n_atoms;
  for (int64_t i = 0; i < count; i++) {
    map->parent[map->n_atoms] = map->n_atoms;
    map->pins[map->n_atoms++] = NULL;
  }
  return REAP_OK;
}

int64_t reap_channel_map_find(reap_channel_map *map, int64_t atom) {
  while (map->parent[atom] != atom) {
    map->parent[atom] = map->parent[map->parent[atom]];
    atom = map->parent[atom];
  }
  return atom;
}

void reap_channel_map_unite(reap_channel_map *map, int64_t a, int64_t b) {
  a = reap_channel_map_find(map, a);
  b = reap_channel_map_find(map, b);
  if (a == b) return;
  int64_t root = a < b ? a : b, other = a < b ? b : a;
  map->parent[other] = root;
  if (!map->pins[root]) {
    map->pins[root] = map->pins[other];
    map->pins[other] = NULL;
  }
}

/* Keeps the reason (taken over, also on failure) for as long as the map. */
static int keep_reason(reap_channel_map *map, char *reason) {
  if (map->n_reasons == map->reason_capacity) {
    const int capacity = map->reason_capacity ? 2 * map->reason_capacity : 16;
    const int status = reap_grow(&map->reasons, map->n_reasons, capacity, sizeof *map->reasons);
    if (status != REAP_OK) {
      reap_free(&reason);
      return status;
    }
    map->reason_capacity = capacity;
  }
  map->reasons[map->n_reasons++] = reason;
  return REAP_OK;
}

static int pin_kept(reap_channel_map *map, int value, const char *reason) {
  const reap_channel_list *list = &map->values[value];
  REAP_TRY(reap_channel_map_count(map, list->count));
  for (int64_t i = 0; i < list->count; i++) {
    int64_t root = reap_channel_map_find(map, list->atoms[i]);
    if (!map->pins[root]) map->pins[root] = reason;
  }
  return REAP_OK;
}

int reap_channel_map_pin(reap_channel_map *map, int value, const char *why) {
  char *reason = NULL;
  REAP_TRY(reap_strdup(&reason, why));
  REAP_TRY(keep_reason(map, reason));
  return pin_kept(map, value, reason);
}

int reap_channel_map_pin_inputs(const reap_graph *graph, const reap_node *node, reap_channel_map *map,
                                const char *why) {
  char *reason = NULL;
  REAP_TRY(reap_format(&reason, "%s %s", reap_node_title(node), why));
  REAP_TRY(keep_reason(map, reason));
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0 && !graph->values[node->inputs[k]].constant)
      REAP_TRY(pin_kept(map, node->inputs[k], reason));
  return REAP_OK;
}

/* ------------------------------------------------------------------ lists */

int reap_channel_list_set(reap_channel_map *map, int value, int axis, int64_t count, int64_t repeat) {
  reap_channel_list *list = &map->values[value];
  REAP_TRY(reap_channel_map_count(map, count));
  REAP_TRY(reap_alloc(&list->atoms, count, sizeof *list->atoms));
  list->count = count;
  list->repeat = repeat;
  list->axis = axis;
  return REAP_OK;
}

int reap_channel_list_fresh(reap_channel_map *map, int value, int axis, int64_t count) {
  int64_t first = 0;
  REAP_TRY(reap_channel_list_set(map, value, axis, count, 1));
  REAP_TRY(reap_channel_map_atoms(map, count, &first));
  for (int64_t i = 0; i < count; i++) map->values[value].atoms[i] = first + i;
  return REAP_OK;
}

int reap_channel_list_pass(reap_channel_map *map, int from, int to, int axis) {
  const reap_channel_list *list = &map->values[from];
  if (list->count == 0) return REAP_OK;
  REAP_TRY(reap_channel_list_set(map, to, axis, list->count, list->repeat));
  memcpy(map->values[to].atoms, list->atoms, (size_t)list->count * sizeof *list->atoms);
  return REAP_OK;
}

int reap_channel_list_refine(reap_channel_map *map, int value, int64_t repeat) {
  reap_channel_list *list = &map->values[value];
  const int64_t parts = list->repeat / repeat, count = list->count;
  if (parts <= 1) return REAP_OK;
  REAP_TRY(reap_channel_map_count(map, count * parts)); /* no overflow: entries of a value */
  REAP_TRY(reap_grow(&list->atoms, count, count * parts, sizeof *list->atoms));
  for (int64_t i = count * parts - 1; i >= 0; i--) list->atoms[i] = list->atoms[i / parts];
  list->count = count * parts;
  list->repeat = repeat;
  return REAP_OK;
}

void reap_channel_map_clear(reap_channel_map *map) {
  for (int v = 0; map->values && v < map->n_values; v++) reap_free(&map->values[v].atoms);
  for (int r = 0; r < map->n_reasons; r++) reap_free(&map->reasons[r]);
  reap_free(&map->reasons);
  reap_free(&map->values);
  reap_free(&map->parent);
  reap_free(&map->pins);
  memset(map, 0, sizeof *map);
}
