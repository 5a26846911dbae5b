#include "memory_options.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/scratch_file.h"
#include "reap/error.h"

bool memory_parse_bytes(const char *text, int64_t *bytes) {
  static const char units[] = "KMGT";
  char *end = NULL;
  if (!isdigit((unsigned char)*text)) return false; /* no sign, space, "inf" or hexadecimal point */
  double value = strtod(text, &end);
  if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) return false;
  if (*end) {
    const char *unit = strchr(units, toupper((unsigned char)*end));
    if (!unit || end[1]) return false;
    value = ldexp(value, 10 * (int)(unit - units + 1));
  }
  if (!(value >= 1 && value < 9e18)) return false;
  *bytes = (int64_t)value;
  return true;
}

int memory_options_read(const char *title, memory_options *o) {
  const char *folder = getenv("TMPDIR");
  o->folder = o->scratch ? o->scratch : folder && *folder ? folder : "/tmp";
  if (o->text && !memory_parse_bytes(o->text, &o->bytes))
    return reap_error(REAP_ERR_USAGE, "%s: --memory wants a number of bytes such as 2G, 500M or 1000000, not \"%s\"",
                      title, o->text);
  if (o->scratch && !o->text)
    return reap_error(REAP_ERR_USAGE, "%s: --scratch is used with --memory only; give --memory as well", title);
  return REAP_OK;
}

int memory_options_check(const reap_comm *comm, const memory_options *o) {
  return o->bytes > 0 ? reap_comm_agree(comm, reap_scratch_folder_check(o->folder)) : REAP_OK;
}
