#include "text.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

/* A byte takes four in the escaped form at most. */
size_t reap_text_room(size_t length) { return 4 * length + 1; }

static bool follows(unsigned char byte) { return (byte & 0xc0) == 0x80; }

unsigned reap_text_code_point(const char *text, size_t length) {
  static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  const unsigned char *t = (const unsigned char *)text;
  unsigned code = t[0] & lead[length];
  for (size_t i = 1; i < length; i++) code = code << 6 | (t[i] & 0x3fu);
  return code;
}

/* Shortest forms only, no surrogates, nothing past U+10FFFF. */
size_t reap_text_character(const char *text) {
  static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
  const unsigned char *t = (const unsigned char *)text;
  const size_t length = t[0] < 0x80             ? 1
                        : (t[0] & 0xe0) == 0xc0 ? 2
                        : (t[0] & 0xf0) == 0xe0 ? 3
                        : (t[0] & 0xf8) == 0xf0 ? 4
                                                : 0;
  for (size_t i = 1; i < length; i++)
    if (!follows(t[i])) return 0;
  if (length == 0) return 0;
  const unsigned code = reap_text_code_point(text, length);
  return code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : length;
}

/* C0, DEL and C1; marks, embeddings, overrides and isolates of direction; ends of lines and paragraphs; the byte order
 * mark. */
bool reap_text_controls(const char *text, size_t length) {
  const unsigned code = reap_text_code_point(text, length);
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that "\xNN" at `text` stands for, or -1. */
static int escaped_byte(const char *text) {
  if (text[0] != '\\' || text[1] != 'x') return -1;
  const int high = digit(text[2]), low = high < 0 ? -1 : digit(text[3]);
  return low < 0 ? -1 : 16 * high + low;
}

void reap_text_escape(const char *text, char *out, size_t room) {
  size_t used = 0;
  while (*text) {
    const size_t length = reap_text_character(text), bytes = length ? length : 1;
    const bool plain = length && !reap_text_controls(text, length) && escaped_byte(text) < 0;
    if (bytes * (plain ? 1 : 4) >= room - used) break;
    for (size_t i = 0; i < bytes; i++) {
      if (plain)
        out[used++] = text[i];
      else
        used += (size_t)snprintf(out + used, room - used, "\\x%02x", (unsigned)(unsigned char)text[i]);
    }
    text += bytes;
  }
  out[used] = '\0';
}

int reap_text_escaped(const char *text, char **out) {
  const size_t room = reap_text_room(strlen(text));
  REAP_TRY(reap_alloc(out, (int64_t)room, 1));
  reap_text_escape(text, *out, room);
  return REAP_OK;
}

int reap_text_width(const char *text, int columns) {
  const int bytes = (int)strlen(text);
  int shown = 0;
  while (*text) {
    const size_t length = reap_text_character(text);
    const bool plain = length && !reap_text_controls(text, length) && escaped_byte(text) < 0;
    shown += plain ? 1 : 4 * (int)(length ? length : 1);
    text += length ? length : 1;
  }
  return shown < columns ? columns - shown + bytes : 0;
}

void reap_text_unescape(char *text) {
  char *to = text;
  while (*text) {
    const int byte = escaped_byte(text);
    *to++ = byte > 0 ? (char)byte : *text;
    text += byte > 0 ? 4 : 1;
  }
  *to = '\0';
}

bool reap_text_names(const char *given, size_t length, const char *name) {
  if (strlen(name) == length && memcmp(given, name, length) == 0) return true;
  for (size_t i = 0; i < length; name++) {
    const int byte = length - i >= 4 ? escaped_byte(given + i) : -1;
    if (!*name || (byte > 0 ? (char)byte : given[i]) != *name) return false;
    i += byte > 0 ? 4 : 1;
  }
  return *name == '\0';
}

bool reap_text_is_pattern(const char *given, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (strchr("*?[", given[i])) return true;
  return false;
}

bool reap_text_fits(const char *given, size_t length, const char *name) {
  char pattern[1024];
  if (reap_text_names(given, length, name)) return true;
  if (length >= sizeof pattern || !reap_text_is_pattern(given, length)) return false;
  memcpy(pattern, given, length);
  pattern[length] = '\0';
  reap_text_unescape(pattern);
  return fnmatch(pattern, name, FNM_NOESCAPE) == 0;
}

/* What stands between line ends. */
typedef struct frame {
  size_t before, behind;
} frame;

static frame line_ends(const char *format) {
  const size_t length = strlen(format), before = strspn(format, "\n");
  size_t end = length;
  while (end > before && format[end - 1] == '\n') end--;
  return (frame){before, length - end};
}

/* In one call: lines of several processes do not mix. Without memory, the start of the text. */
static void print_escaped(FILE *to, const char *text, size_t length, frame f) {
  char few[1024], *line = few;
  size_t room = reap_text_room(length) + f.before + f.behind;
  if (room > sizeof few && !(line = malloc(room))) {
    line = few;
    room = sizeof few;
  }
  memset(line, '\n', f.before);
  reap_text_escape(text, line + f.before, room - f.before - f.behind);
  const size_t used = strlen(line);
  memset(line + used, '\n', f.behind);
  line[used + f.behind] = '\0';
  fputs(line, to);
  if (line != few) free(line);
}

void reap_print(FILE *to, const char *format, ...) {
  const frame f = line_ends(format);
  char few[512], *text = few;
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  const int length = vsnprintf(few, sizeof few, format, args);
  va_end(args);
  if (length >= (int)sizeof few && (text = malloc((size_t)length + 1)))
    vsnprintf(text, (size_t)length + 1, format, again);
  else if (length >= (int)sizeof few)
    text = few; /* without memory, its start */
  else if (length >= 0)
    text[(size_t)length - f.behind] = '\0';
  va_end(again);
  if (text != few) text[(size_t)length - f.behind] = '\0';
  if (length >= 0) print_escaped(to, text + f.before, strlen(text + f.before), f);
  if (text != few) free(text);
}
