#include "record.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

enum {
  LAYER = REAP_REPORT_LAYER,
  REPAIR = REAP_REPORT_REPAIR,
  SCALE = REAP_REPORT_SCALE,
  PRODUCER = REAP_REPORT_PRODUCER
};

#define AT(member) #member, offsetof(reap_step_record, member)
#define TEXT(member, reports, key) {REAP_FIELD_TEXT, AT(member), 0, reports, key, NULL, NULL},
#define COUNT(member, reports, key) {REAP_FIELD_COUNT, AT(member), 0, reports, key, NULL, NULL},
#define NUMBER(member, reports, key) {REAP_FIELD_NUMBER, AT(member), 0, reports, key, NULL, NULL},
#define FLAG(member, reports, key) {REAP_FIELD_FLAG, AT(member), 0, reports, key, NULL, NULL},
#define CHOICE(member, reports, key, no, yes) {REAP_FIELD_FLAG, AT(member), 0, reports, key, no, yes},
#define INDICES(member, count, reports, key) \
  {REAP_FIELD_INDICES, AT(member), offsetof(reap_step_record, count), reports, key, NULL, NULL},
#define NUMBERS(member, count, reports, key) \
  {REAP_FIELD_NUMBERS, AT(member), offsetof(reap_step_record, count), reports, key, NULL, NULL},

const reap_record_field reap_record_fields[] = {
#include "record.def"
    {REAP_FIELD_TEXT, NULL, 0, 0, 0, NULL, NULL, NULL}};

static bool is_owned(const reap_record_field *f) {
  return f->type == REAP_FIELD_TEXT || f->type == REAP_FIELD_INDICES || f->type == REAP_FIELD_NUMBERS;
}

int reap_record_broadcast(const reap_comm *comm, reap_step_record *record) {
  const reap_step_record own = *record;
  REAP_TRY(reap_comm_broadcast(comm, record, sizeof *record, 0));
  for (const reap_record_field *f = reap_record_fields; f->member; f++) {
    void *array = NULL;
    if (!is_owned(f)) continue;
    memcpy(&array, reap_record_at(&own, f), sizeof array);
    memcpy((char *)record + f->offset, &array, sizeof array);
    if (f->type == REAP_FIELD_TEXT || !array) continue;
    const size_t size = f->type == REAP_FIELD_INDICES ? sizeof(int64_t) : sizeof(double);
    REAP_TRY(reap_comm_broadcast(comm, array, (size_t)reap_record_count(record, f) * size, 0));
  }
  return REAP_OK;
}

void reap_record_clear(reap_step_record *record) {
  for (const reap_record_field *f = reap_record_fields; f->member; f++)
    if (is_owned(f)) reap_free((char *)record + f->offset);
}
