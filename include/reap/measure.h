/* How several outputs of a network count together. Local. */
#ifndef REAP_MEASURE_H
#define REAP_MEASURE_H

#include "reap/api.h"

REAP_API_BEGIN

typedef enum reap_measure {
  REAP_MEASURE_LARGEST, /* a network is as good as its worst output */
  REAP_MEASURE_SUM      /* one output may pay for another */
} reap_measure;

REAP_API_END

#endif
