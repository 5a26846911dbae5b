#include "reap/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[REAP_ERROR_LENGTH];

int reap_error(int status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return status;
}

/* Puts `text`, cut to what has room, at position `used` of the message; returns the position behind it. */
static size_t append(size_t used, const char *text) {
  size_t length = strlen(text), room = sizeof message - 1 - used;
  if (length > room) length = room;
  memcpy(message + used, text, length);
  message[used + length] = '\0';
  return used + length;
}

int reap_error_prefix(int status, const char *format, ...) {
  if (status == REAP_OK) return status;
  char old[REAP_ERROR_LENGTH];
  memcpy(old, message, sizeof old);
  va_list args;
  va_start(args, format);
  int n = vsnprintf(message, sizeof message, format, args);
  va_end(args);
  if (n < 0) n = 0;
  size_t used = (size_t)n < sizeof message ? (size_t)n : sizeof message - 1;
  append(append(used, ": "), old);
  return status;
}

const char *reap_error_message(void) { return message; }

const char *reap_status_name(int status) {
  switch (status) {
    case REAP_OK: return "done";
    case REAP_ERR_USAGE: return "usage error";
    case REAP_ERR_INPUT: return "unusable input or output";
    case REAP_ERR_RESOURCE: return "out of memory or disk";
    case REAP_ERR_NUMERIC: return "numerical failure";
    case REAP_STOPPED: return "stopped";
    case REAP_ERR_STALLED: return "stalled";
    default: return "internal error";
  }
}
