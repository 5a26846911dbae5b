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

/* Of a text or an array, in place of the pointer that was copied. */
static int copy_field(const reap_step_record *from, const reap_record_field *f, reap_step_record *to) {
  const void *data = NULL;
  void *copy = NULL;
  memcpy(&data, reap_record_at(from, f), sizeof data);
  const bool text = f->type == REAP_FIELD_TEXT;
  const size_t size = text ? 1 : f->type == REAP_FIELD_INDICES ? sizeof(int64_t) : sizeof(double);
  const int64_t count = !data ? 0 : text ? (int64_t)strlen(data) + 1 : reap_record_count(from, f);
  if (!data) return REAP_OK;
  REAP_TRY(reap_alloc(&copy, count, size));
  memcpy(copy, data, (size_t)count * size);
  memcpy((char *)to + f->offset, &copy, sizeof copy);
  return REAP_OK;
}

int reap_record_copy(const reap_step_record *from, reap_step_record *to) {
  void *none = NULL;
  *to = *from;
  for (const reap_record_field *f = reap_record_fields; f->member; f++)
    if (is_owned(f)) memcpy((char *)to + f->offset, &none, sizeof none);
  for (const reap_record_field *f = reap_record_fields; f->member; f++)
    if (is_owned(f)) REAP_TRY(copy_field(from, f, to));
  return REAP_OK;
}

void reap_record_clear(reap_step_record *record) {
  for (const reap_record_field *f = reap_record_fields; f->member; f++)
    if (is_owned(f)) reap_free((char *)record + f->offset);
}
