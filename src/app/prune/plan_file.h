/* Plans: how many channels, or which, each group keeps, as a JSON file that people edit; private to src/app. Local.
 *
 *   { "groups": { "NAME": number of channels kept, or list of the indices kept, ... }, ... }
 *
 * Names are those of reap inspect. Groups not named keep all. What else stands there is for the reader and not looked
 * at.
 */
#ifndef REAP_APP_PLAN_FILE_H
#define REAP_APP_PLAN_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include "app/json/json.h"

#include "reap/groups.h"

/* `coupled`: of groups that are not inner, too. Fills counts[groups], and given[groups], zero before: where the file
 * has a list an array of the indices kept, ascending and owned by the caller, also after an error. REAP_ERR_INPUT names
 * the file, the group and what is wrong: malformed JSON (with the line), no "groups", groups that do not exist or
 * cannot be pruned, that are named twice, numbers out of range, indices named twice. */
int plan_file_read(const char *path, const reap_groups *groups, bool coupled, int64_t *counts, int64_t **given);

/* Adds "groups" to an object: the sizes of groups with chosen[group], indices in place of numbers where given[group] is
 * there (given may be NULL). */
void plan_file_add_groups(const reap_groups *groups, const bool *chosen, const int64_t *counts, int64_t *const *given,
                          cJSON *object);

/* Writes the sizes of groups as plan_file_add_groups(). `facts` is taken over and written in front: an object with
 * further facts about the plan. */
int plan_file_write(const char *path, const reap_groups *groups, const bool *chosen, const int64_t *counts,
                    int64_t *const *given, cJSON *facts);

#endif
