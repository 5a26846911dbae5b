/* Names and the numbers that belong to them, found in logarithmic time.
 *
 * The names are borrowed: they must not move as long as the table is used, and may be gone when it is destroyed. All
 * calls are local.
 */
#ifndef REAP_BASE_NAME_TABLE_H
#define REAP_BASE_NAME_TABLE_H

#include <stdint.h>

typedef struct reap_name_table reap_name_table;

int reap_name_table_create(reap_name_table **out);
void reap_name_table_destroy(reap_name_table **table);

/* Gives `name` the number `value`, in place of the one it had if it is there already. */
int reap_name_table_set(reap_name_table *table, const char *name, int64_t value);

/* Number of the name, or -1. NULL is an empty table. */
int64_t reap_name_table_find(const reap_name_table *table, const char *name);

#endif
