#include "plan_file.h"

#include <math.h>
#include <string.h>

#include "app/json/json_file.h"
#include "app/report.h"
#include "base/nearest.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct reader {
  const char *path;
  const reap_groups *groups;
  int64_t *counts, **given;
  bool coupled, *named;
} reader;

static int find_group(const reader *r, const char *name, int *group) {
  char nearest[REAP_NEAREST_TEXT];
  reap_nearest near = reap_nearest_to(name, strlen(name));
  for (int g = 0; g < reap_groups_count(r->groups); g++) {
    const reap_group *candidate = reap_groups_at(r->groups, g);
    *group = g;
    if (strcmp(candidate->name, name) == 0) return REAP_OK;
    reap_nearest_offer(&near, candidate->name, strlen(candidate->name));
  }
  return reap_error(REAP_ERR_INPUT, "%s: \"%s\" is no channel group of this network%s%s", r->path, name,
                    reap_nearest_text(&near, "\"", nearest), near.count ? "" : "; reap inspect lists them");
}

/* A whole number in least .. most. */
static bool whole(const cJSON *item, int64_t least, int64_t most, int64_t *value) {
  const double number = cJSON_IsNumber(item) ? item->valuedouble : NAN;
  if (!(number >= (double)least && number <= (double)most) || number != floor(number)) return false;
  *value = (int64_t)number;
  return true;
}

static int read_indices(const reader *r, const cJSON *list, const reap_group *group, int64_t *kept, bool *there) {
  const cJSON *item;
  int64_t index, count = 0;
  cJSON_ArrayForEach(item, list) {
    if (!whole(item, 0, group->units - 1, &index))
      return reap_error(REAP_ERR_INPUT, "%s: group %s: indices of channels are whole numbers from 0 to %lld", r->path,
                        group->name, (long long)group->units - 1);
    if (there[index])
      return reap_error(REAP_ERR_INPUT, "%s: group %s: channel %lld is named twice", r->path, group->name,
                        (long long)index);
    there[index] = true;
  }
  for (int64_t c = 0; c < group->units; c++)
    if (there[c]) kept[count++] = c;
  return REAP_OK;
}

static int read_list(reader *r, const cJSON *list, int g) {
  const reap_group *group = reap_groups_at(r->groups, g);
  const int64_t count = cJSON_GetArraySize(list);
  bool *there = NULL;
  if (count < 1)
    return reap_error(REAP_ERR_INPUT, "%s: group %s has to keep at least one channel", r->path, group->name);
  REAP_TRY(reap_calloc(&there, group->units, sizeof *there));
  int status = reap_alloc(&r->given[g], group->units, sizeof *r->given[g]);
  if (status == REAP_OK) status = read_indices(r, list, group, r->given[g], there);
  reap_free(&there);
  r->counts[g] = count;
  return status;
}

static int read_group(reader *r, const cJSON *item) {
  int g = -1;
  REAP_TRY(find_group(r, item->string, &g));
  const reap_group *group = reap_groups_at(r->groups, g);
  if (r->named[g]) return reap_error(REAP_ERR_INPUT, "%s: group %s is named twice", r->path, group->name);
  if (!(r->coupled ? group->cuttable : group->prunable))
    return reap_error(REAP_ERR_INPUT, "%s: group %s cannot be pruned: %s", r->path, group->name, group->reason);
  r->named[g] = true;
  if (cJSON_IsArray(item)) return read_list(r, item, g);
  if (whole(item, 1, group->units, &r->counts[g])) return REAP_OK;
  return reap_error(REAP_ERR_INPUT,
                    "%s: group %s wants a whole number of channels from 1 to %lld, or a list of indices from 0 to %lld",
                    r->path, group->name, (long long)group->units, (long long)group->units - 1);
}

static int read_groups(reader *r, const cJSON *root) {
  const cJSON *groups = cJSON_GetObjectItemCaseSensitive(root, "groups"), *item;
  if (!cJSON_IsObject(groups))
    return reap_error(REAP_ERR_INPUT,
                      "%s: not a plan: a plan has an object \"groups\" with names and numbers of channels kept",
                      r->path);
  cJSON_ArrayForEach(item, groups) REAP_TRY(read_group(r, item));
  return REAP_OK;
}

int plan_file_read(const char *path, const reap_groups *groups, bool coupled, int64_t *counts, int64_t **given) {
  reader r = {path, groups, counts, given, coupled, NULL};
  cJSON *root = NULL;
  REAP_TRY(reap_calloc(&r.named, reap_groups_count(groups), sizeof *r.named));
  for (int g = 0; g < reap_groups_count(groups); g++) counts[g] = reap_groups_at(groups, g)->units;
  int status = json_file_read(path, &root);
  if (status == REAP_OK) status = read_groups(&r, root);
  cJSON_Delete(root);
  reap_free(&r.named);
  return status;
}

void plan_file_add_groups(const reap_groups *groups, const bool *chosen, const int64_t *counts, int64_t *const *given,
                          cJSON *object) {
  cJSON *list = cJSON_AddObjectToObject(object, "groups");
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (!chosen[g]) continue;
    if (!given || !given[g]) {
      cJSON_AddNumberToObject(list, group->name, (double)counts[g]);
      continue;
    }
    cJSON *indices = cJSON_AddArrayToObject(list, group->name);
    for (int64_t k = 0; k < counts[g]; k++) json_append(indices, cJSON_CreateNumber((double)given[g][k]));
  }
}

int plan_file_write(const char *path, const reap_groups *groups, const bool *chosen, const int64_t *counts,
                    int64_t *const *given, cJSON *facts) {
  plan_file_add_groups(groups, chosen, counts, given, facts);
  int status = report_write(facts, path);
  cJSON_Delete(facts);
  return status;
}
