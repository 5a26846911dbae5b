#include "reap/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "text.h"

static reap_log_level threshold = REAP_LOG_WARNING;
static reap_log_sink *receiver;
static void *receiver_context;

void reap_log_set_level(reap_log_level level) { threshold = level; }

void reap_log_set_sink(reap_log_sink *sink, void *context) {
  receiver = sink;
  receiver_context = context;
}

void reap_log(reap_log_level level, const char *format, ...) {
  if (level > threshold || level == REAP_LOG_QUIET) return;
  char line[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (receiver) {
    receiver(receiver_context, level, line);
    return;
  }
  reap_print(stderr, "reap: %s%s\n", level == REAP_LOG_WARNING ? "warning: " : "", line);
}
