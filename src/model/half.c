#include "half.h"

#include <string.h>

/* float32: 1 sign, 8 exponent (bias 127) and 23 fraction bits; float16: 1, 5 (bias 15) and 10. */
enum { DROPPED = 23 - 10, REBIAS = 127 - 15 };

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* Drops the last `count` (1 to 31) bits, rounding to nearest even; a carry runs into the exponent, as it has to. */
static uint32_t round_off(uint32_t bits, int count) {
  uint32_t half = (uint32_t)1 << (count - 1), odd = bits >> count & 1;
  return (bits + half - 1 + odd) >> count;
}

float reap_from_float16(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return from_bits(sign | 0x7f800000u | fraction << DROPPED);
  if (exponent > 0) return from_bits(sign | (exponent + REBIAS) << 23 | fraction << DROPPED);
  float subnormal = (float)fraction * 0x1p-24f; /* exact */
  return sign ? -subnormal : subnormal;
}

float reap_from_bfloat16(uint16_t bits) { return from_bits((uint32_t)bits << 16); }

uint16_t reap_to_float16(float value) {
  uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);  /* NaN */
  if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* from 65520 on */
  if (size >= 0x38800000u) return (uint16_t)(sign | (round_off(size, DROPPED) - ((uint32_t)REBIAS << 10)));
  /* Below 2^-14 the spacing is fixed: 2^-24. Adding 0.5, whose own spacing that is, rounds. */
  return (uint16_t)(sign | (to_bits(from_bits(size) + 0.5f) - to_bits(0.5f)));
}

uint16_t reap_to_bfloat16(float value) {
  uint32_t bits = to_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u); /* NaN: never rounded to infinity */
  return (uint16_t)round_off(bits, 16);
}

const char *reap_precision_name(reap_precision precision) {
  return precision == REAP_FLOAT16 ? "float16" : precision == REAP_BFLOAT16 ? "bfloat16" : "float32";
}

float reap_round_to(float value, reap_precision precision) {
  switch (precision) {
    case REAP_FLOAT16:
      return reap_from_float16(reap_to_float16(value));
    case REAP_BFLOAT16:
      return reap_from_bfloat16(reap_to_bfloat16(value));
    default:
      return value;
  }
}
