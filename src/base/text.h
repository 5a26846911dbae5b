/* Names from files, and what shows them. Names are bytes: they may hold control characters, sequences that command a
 * terminal, marks that turn the direction of writing, or no UTF-8 at all.
 *
 * The escaped form is UTF-8 that a terminal shows as it is: each such byte is written \xNN with two hexadecimal digits.
 * A backslash that would read as one of these is written \x5c, so that different names stay different; all other text
 * is its own escaped form. All calls are local.
 */
#ifndef REAP_BASE_TEXT_H
#define REAP_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Writes the escaped form and a final zero byte to `out`, at most `room` (>= 1) bytes, cut between characters. */
void reap_text_escape(const char *text, char *out, size_t room);

/* The same in a new string that the caller owns (reap_free). */
int reap_text_escaped(const char *text, char **out);

/* Bytes of the longest escaped form of a text of `length` bytes, with the final zero byte. */
size_t reap_text_room(size_t length);

/* Back from the escaped form, in place. \x00 stays as it is: names have no zero bytes. */
void reap_text_unescape(char *text);

/* True if `given`, of `length` bytes, is the name or its escaped form. */
bool reap_text_names(const char *given, size_t length, const char *name);

/* True if `given` is the name, as above, or a pattern that fits the whole of it: * stands for any bytes, ? for one,
 * [a-c] for one of these, as in a shell. */
bool reap_text_fits(const char *given, size_t length, const char *name);

/* True if there is any of these signs in it. */
bool reap_text_is_pattern(const char *given, size_t length);

/* Bytes that the character at `text` takes if it is whole UTF-8, else 0. */
size_t reap_text_character(const char *text);

/* The character of `length` bytes (from reap_text_character()) as a number. */
unsigned reap_text_code_point(const char *text, size_t length);

/* True if the character of `length` bytes controls a terminal or the direction of writing. */
bool reap_text_controls(const char *text, size_t length);

/* The width for "%-*s" in reap_print() with which the escaped form of a text takes so many columns, or one for each of
 * its characters. printf counts bytes, before they are escaped. */
int reap_text_width(const char *text, int columns);

/* printf of lines for people: everything but the line ends with which the format starts and ends is escaped. */
void reap_print(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
