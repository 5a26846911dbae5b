/* Numbers of 16 bits: float16 (IEEE 754 binary16) and bfloat16. Local.
 *
 * To float32 is exact, infinities and NaNs included. From float32 rounds to the nearest, ties to even; what is too
 * large becomes an infinity.
 */
#ifndef REAP_MODEL_HALF_H
#define REAP_MODEL_HALF_H

#include <stdint.h>

#include "reap/graph.h"

float reap_from_float16(uint16_t bits);
float reap_from_bfloat16(uint16_t bits);
uint16_t reap_to_float16(float value);
uint16_t reap_to_bfloat16(float value);

/* "float16" */
const char *reap_precision_name(reap_precision precision);

/* The nearest number of that type. */
float reap_round_to(float value, reap_precision precision);

#endif
