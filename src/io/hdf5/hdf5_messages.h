/* Private to src/io: whether a message of an object's header (HDF5 format) holds all that its lengths and counts name.
 * Local calls, without the HDF5 library. */
#ifndef REAP_IO_HDF5_HDF5_MESSAGES_H
#define REAP_IO_HDF5_HDF5_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of an address and of a length in this file: 2, 4 or 8. */
typedef struct message_widths {
  int address, length;
} message_widths;

/* Bytes not read yet; `lacks` once more were wanted than there are. */
typedef struct message_bytes {
  const unsigned char *at, *end;
  message_widths widths;
  bool lacks;
} message_bytes;

/* The next `count` bytes (at most 8) as a number without sign, low byte first; 0 if there are fewer. */
uint64_t reap_message_take(message_bytes *bytes, int count);

/* An address; 0 if the file names none. */
uint64_t reap_message_take_address(message_bytes *bytes);

/* Skips bytes; false if there are fewer. */
bool reap_message_skip(message_bytes *bytes, uint64_t count);

enum { MESSAGE_TYPE = 0x03, MESSAGE_CONTINUATION = 0x10 };

typedef struct message_facts {
  const char *attribute;   /* the name, in the message's bytes; NULL: not an attribute, or none that ends */
  uint64_t shared;         /* where the header begins that holds the rest of the message; 0: nowhere else */
  uint64_t element;        /* bytes of an element of the type named; 0: no type is in the message */
  uint64_t elements, room; /* of an attribute: how many elements, and the bytes left for them */
} message_facts;

/* Whether so many elements of an attribute fit into the bytes left for them. */
bool reap_message_elements_fit(const message_facts *facts, uint64_t element);

/* NULL if the message is sound or of a kind not known here; else what is damaged, without names. `facts` is filled as
 * far as possible, in either case. */
const char *reap_message_check(int kind, int flags, message_bytes bytes, message_facts *facts);

#endif
