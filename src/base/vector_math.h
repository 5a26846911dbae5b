/* exp, tanh and erf of float32 without branches and tables, so that loops over them become vector code.
 *
 * Each is within 2 units in the last place of the true value. A NaN stays one, infinities give the limits, results
 * below the normal numbers are rounded as others are. Coefficients were fitted for the least largest error on the
 * intervals named.
 */
#ifndef REAP_BASE_VECTOR_MATH_H
#define REAP_BASE_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "each_width.h"

/* 2^n for -126 <= n <= 127. */
INLINED float reap_power_of_two(int32_t n) {
  const uint32_t bits = ((uint32_t)n + 127u) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return power;
}

/* e^r - 1 with x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to the nearest integer, which then stands in
 * the last bits. */
INLINED float reap_exp_rest(float x, int32_t *n) {
  const float shift = 0x1.8p23f;
  float rounded = x * 1.44269504f + shift;
  memcpy(n, &rounded, sizeof *n);
  *n = (int32_t)((uint32_t)*n - 0x4b400000u);
  rounded -= shift;
  const float r = (x - rounded * 0.693359375f) + rounded * 2.12194440e-4f;
  float q = 1.3942149e-3f;
  q = q * r + 8.3637762e-3f;
  q = q * r + 4.1666362e-2f;
  q = q * r + 1.6666573e-1f;
  q = q * r + 0.5f;
  return r + r * r * q;
}

/* The power of two is multiplied in two steps, since it may be out of range where the result is not. */
INLINED float reap_expf(float x) {
  int32_t n;
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const float rest = reap_exp_rest(x, &n);
  const int32_t half = n >> 1;
  return (1.0f + rest) * reap_power_of_two(half) * reap_power_of_two(n - half);
}

/* e^x - 1 for x <= 0, without cancellation near 0. */
INLINED float reap_expm1f_negative(float x) {
  int32_t n;
  x = x < -20.0f ? -20.0f : x;
  const float rest = reap_exp_rest(x, &n), scale = reap_power_of_two(n);
  return scale * rest + (scale - 1.0f);
}

INLINED float reap_sigmoidf(float x) { return 1.0f / (1.0f + reap_expf(-x)); }

INLINED float reap_tanhf(float x) {
  const float size = fabsf(x), square = x * x, e = reap_expf(-2.0f * size);
  float p = 2.27321e-3f; /* up to 0.63 */
  p = p * square - 8.326645e-3f;
  p = p * square + 2.1763574e-2f;
  p = p * square - 5.395858e-2f;
  p = p * square + 1.33333e-1f;
  p = p * square - 3.3333334e-1f;
  const float near = x + x * square * p, far = copysignf((1.0f - e) / (1.0f + e), x);
  return size < 0.6f ? near : far;
}

/* Far from 0 by the logarithm of 1 - erf, up to 3.95, where 1 - erf vanishes beside 1. */
INLINED float reap_erff(float x) {
  const float size = fabsf(x), square = x * x, a = size > 3.95f ? 3.95f : size;
  float p = 8.2239757e-5f; /* up to 0.95 */
  p = p * square - 8.1080797e-4f;
  p = p * square + 5.1979915e-3f;
  p = p * square - 2.6858186e-2f;
  p = p * square + 1.1283674e-1f;
  p = p * square - 3.7612632e-1f;
  p = p * square + 1.2837917e-1f;
  float q = -2.0113378e-5f;
  q = q * a + 4.2267378e-4f;
  q = q * a - 4.1121918e-3f;
  q = q * a + 2.4960697e-2f;
  q = q * a - 1.0803017e-1f;
  q = q * a - 6.3357702e-1f;
  q = q * a - 1.1294001f;
  q = q * a + 1.5066442e-4f;
  const float near = x + x * p, far = copysignf(1.0f - reap_expf(q), x);
  return size < 0.94f ? near : far;
}

#endif
