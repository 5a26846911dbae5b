/* What a session's results follow from, as texts: two sessions with the same ones prune the same. Local. */
#ifndef REAP_PRUNE_SESSION_SESSION_IDENTITY_H
#define REAP_PRUNE_SESSION_SESSION_IDENTITY_H

#include "reap/session.h"

typedef struct session_fact {
  const char *name;
  char text[128]; /* of anything longer, its hash */
} session_fact;

enum { SESSION_FACTS = 40 };

typedef struct session_identity {
  int n;
  session_fact list[SESSION_FACTS];
} session_identity;

/* Version, hashes of network, images and files, and every setting that decides on the result. The hash of the images
 * has to be known (reap_session_hash_data). */
int reap_session_identity(const reap_session *session, session_identity *out);

#endif
