/* JSON documents in memory that reap counts, and what cJSON does not tell; private to src/app. Local.
 *
 * A document is built by many calls, each of which fails quietly without memory and leaves something out. No document
 * leaves the program that way: json_status() tells whether any of them failed, and json_print() asks it.
 */
#ifndef REAP_APP_JSON_H
#define REAP_APP_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* Lets cJSON take its memory from reap_alloc(), in this process, from now on. To be called before any other use of
 * cJSON. */
void json_set_up(void);

/* REAP_ERR_RESOURCE if cJSON has been refused memory since the last call, which forgets it; else REAP_OK. */
int json_status(void);

/* Takes over `item`: what cannot be added is deleted. */
void json_add(cJSON *object, const char *name, cJSON *item);
void json_append(cJSON *array, cJSON *item);

/* A number, or null for NaN and infinities. */
void json_add_number(cJSON *object, const char *name, double value);

/* Several of them in this order, up to a name of NULL: JSON_NUMBERS(object, {name, value}, ...). */
typedef struct json_number {
  const char *name;
  double value;
} json_number;
void json_add_numbers(cJSON *object, const json_number *numbers);
#define JSON_NUMBERS(object, ...) json_add_numbers(object, (const json_number[]){__VA_ARGS__, {NULL, 0}})

/* The document as text, always valid UTF-8, which the caller gives back with reap_free(). Bytes of names that are no
 * UTF-8 are written in the escaped form of reap/text.h, characters that control a terminal as JSON's \uNNNN.
 * REAP_ERR_RESOURCE, and no text, if there was no memory for the text or, since the last json_status(), for any part of
 * a document. */
int json_print(const cJSON *document, bool indented, char **text);

#endif
