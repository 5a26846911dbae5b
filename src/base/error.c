#include "reap/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[REAP_ERROR_LENGTH];

/* A name from a file may be longer than the whole message: the middle of it goes, and the reason behind it stays. */
static void set_message(const char *text) {
  static const char gap[] = " [...] ";
  const size_t length = strlen(text), half = (sizeof message - sizeof gap) / 2;
  if (length < sizeof message)
    memcpy(message, text, length + 1);
  else
    snprintf(message, sizeof message, "%.*s%s%s", (int)half, text, gap, text + length - half);
}

int reap_error(int status, const char *format, ...) {
  char text[8 * REAP_ERROR_LENGTH];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  set_message(text);
  return status;
}

static int status_of(int reason) {
  static const int scarce[] = {ENOMEM, ENOSPC, EDQUOT, EFBIG, EMFILE, ENFILE};
  for (size_t i = 0; i < sizeof scarce / sizeof *scarce; i++)
    if (reason == scarce[i]) return REAP_ERR_RESOURCE;
  return REAP_ERR_INPUT;
}

int reap_error_system(const char *format, ...) {
  const int reason = errno;
  char text[8 * REAP_ERROR_LENGTH];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return reap_error(status_of(reason), "%s: %s", text, strerror(reason));
}

int reap_error_prefix(int status, const char *format, ...) {
  if (status == REAP_OK) return status;
  char text[9 * REAP_ERROR_LENGTH + 4];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, 8 * REAP_ERROR_LENGTH, format, args);
  va_end(args);
  if (n < 0) n = 0;
  if (n >= 8 * REAP_ERROR_LENGTH) n = 8 * REAP_ERROR_LENGTH - 1;
  snprintf(text + n, sizeof text - (size_t)n, ": %s", message);
  set_message(text);
  return status;
}

const char *reap_error_message(void) { return message; }

const char *reap_status_name(int status) {
  switch (status) {
    case REAP_OK:
      return "done";
    case REAP_ERR_USAGE:
      return "usage error";
    case REAP_ERR_INPUT:
      return "unusable input or output";
    case REAP_ERR_RESOURCE:
      return "out of memory or disk";
    case REAP_ERR_NUMERIC:
      return "numerical failure";
    case REAP_STOPPED:
      return "stopped";
    case REAP_ERR_STALLED:
      return "stalled";
    default:
      return "internal error";
  }
}
