/* The record of a step: what was decided and how well it does, filled in while the step is taken. The run's result is a
 * list of records, and reports are written from them.
 *
 * record.def lists the fields. All of them are plain numbers, and text and arrays that the record owns, so that a
 * record can be written and read field by field. Local but for the broadcast.
 */
#ifndef REAP_PRUNE_RUN_RECORD_H
#define REAP_PRUNE_RUN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/numbers.h"
#include "reap/comm.h"

typedef enum reap_step_kind {
  REAP_STEP_PRUNE,  /* the layer loses inputs and is re-solved */
  REAP_STEP_REPAIR, /* the layer keeps its inputs, which earlier steps changed, and is re-solved */
  REAP_STEP_SCALE,  /* a classifier's last layer, scaled after all others: temperature scaling */
  REAP_STEP_CUT     /* a group of any kind is cut at once; layers that are re-solved have steps of their own */
} reap_step_kind;

typedef struct reap_step_record {
  reap_step_kind kind;
#define TEXT(member, reports, key) char *member;
#define COUNT(member, reports, key) int64_t member;
#define NUMBER(member, reports, key) double member;
#define FLAG(member, reports, key) bool member;
#define CHOICE(member, reports, key, no, yes) bool member;
#define INDICES(member, count, reports, key) int64_t *member;
#define NUMBERS(member, count, reports, key) double *member;
#include "record.def"
#undef TEXT
#undef COUNT
#undef NUMBER
#undef FLAG
#undef CHOICE
#undef INDICES
#undef NUMBERS
} reap_step_record;

typedef enum reap_field_type {
  REAP_FIELD_TEXT,
  REAP_FIELD_COUNT,
  REAP_FIELD_NUMBER,
  REAP_FIELD_FLAG, /* bool; a choice has a word for either */
  REAP_FIELD_INDICES,
  REAP_FIELD_NUMBERS
} reap_field_type;

/* Reports that show a field. */
enum { REAP_REPORT_LAYER = 1, REAP_REPORT_REPAIR = 2, REAP_REPORT_SCALE = 4, REAP_REPORT_PRODUCER = 8 };

typedef struct reap_record_field {
  reap_field_type type;
  const char *member;
  size_t offset, count; /* of the member, and of the one that counts an array's elements */
  unsigned reports;
  const char *key;      /* in reports; NULL: in none */
  const char *no, *yes; /* words of a choice, else NULL */
} reap_record_field;

/* All fields but the kind, ended by one without a member. */
extern const reap_record_field reap_record_fields[];

/* Where a record has a field. */
static inline const void *reap_record_at(const reap_step_record *record, const reap_record_field *field) {
  return (const char *)record + field->offset;
}

/* Elements of an array. */
static inline int64_t reap_record_count(const reap_step_record *record, const reap_record_field *field) {
  return *(const int64_t *)(const void *)((const char *)record + field->count);
}

/* Collective: the numbers and arrays of rank 0, which are as long everywhere; text stays each rank's own. */
int reap_record_broadcast(const reap_comm *comm, reap_step_record *record);

/* A copy that owns its text and arrays; to be cleared also after an error. */
int reap_record_copy(const reap_step_record *from, reap_step_record *to);

void reap_record_clear(reap_step_record *record);

#endif
