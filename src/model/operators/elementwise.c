/* Functions of one number, one line and one table entry each; see elementwise.h.
 *
 * Method: exp, tanh and erf are those of base/vector_math.h, so that the loops become vector code; logarithms, sines
 * and powers are the C library's, number by number. Rounding: a few units in the last place. A NaN stays one; at
 * infinities each function has the value of its formula, which is NaN where the formula multiplies one with 0.
 */
#include "elementwise.h"

#include <string.h>

#include "base/vector_math.h"
#include "model/operators.h"
#include "reap/error.h"
#include "rules.h"

/* x is the number, a and b are the parameters. Iterations touch different elements, so y may be x. */
#define DEFINE(name, expression)                                                               \
  FOR_EACH_WIDTH static void name(int64_t n, const float *from, float a, float b, float *to) { \
    (void)a;                                                                                   \
    (void)b;                                                                                   \
    REAP_INDEPENDENT                                                                           \
    for (int64_t i = 0; i < n; i++) {                                                          \
      const float x = from[i];                                                                 \
      to[i] = expression;                                                                      \
    }                                                                                          \
  }

/* Comparisons with a NaN are false: then x is kept. */
INLINED float clamp_unit(float x) {
  const float raised = x < 0 ? 0 : x;
  return raised > 1 ? 1 : raised;
}

INLINED float negative_part(float x) { return x > 0 ? 0 : x; }

/* x tanh(log(1 + e^x)), with e^x (e^x + 2) for (1 + e^x)^2 - 1; beyond 20 it is x. */
INLINED float mish(float x) {
  const float e = reap_expf(x > 20 ? 20 : x), w = e * (e + 2);
  return x > 20 ? x : x * (w / (w + 2));
}

INLINED float softplus(float x) { return (x < 0 ? 0 : x) + log1pf(expf(-fabsf(x))); }

INLINED float gelu(float x) { return 0.5f * x * (1.0f + reap_erff(0.707106781f * x)); }

INLINED float gelu_by_tanh(float x) {
  return 0.5f * x * (1.0f + reap_tanhf(0.797884561f * (x + 0.044715f * x * x * x)));
}

DEFINE(absolute, fabsf(x))
DEFINE(negated, -x)
DEFINE(reciprocal, 1.0f / x)
DEFINE(square_root, sqrtf(x))
DEFINE(exponential, reap_expf(x))
DEFINE(logarithm, logf(x))
DEFINE(sine, sinf(x))
DEFINE(cosine, cosf(x))
DEFINE(error_function, reap_erff(x))
DEFINE(hyperbolic_tangent, reap_tanhf(x))
DEFINE(sigmoid, reap_sigmoidf(x))
DEFINE(hard_sigmoid, clamp_unit(a *x + b))
DEFINE(hard_swish, x *clamp_unit(x *(1.0f / 6.0f) + 0.5f))
DEFINE(leaky_relu, x < 0 ? a * x : x)
DEFINE(elu, x > 0 ? x : a * reap_expm1f_negative(negative_part(x)))
DEFINE(selu, b *(x > 0 ? x : a * reap_expm1f_negative(negative_part(x))))
DEFINE(celu, x > 0 ? x : a * reap_expm1f_negative(negative_part(x) / a))
DEFINE(softplus_of, softplus(x))
DEFINE(softsign, x / (1.0f + fabsf(x)))
DEFINE(mish_of, mish(x))
DEFINE(gelu_exact, gelu(x))
DEFINE(gelu_tanh, gelu_by_tanh(x))

typedef struct entry {
  void (*apply)(int64_t n, const float *x, float a, float b, float *y);
  const char *name_a; /* attributes, and what they are where they are not given */
  float a;
  const char *name_b;
  float b;
} entry;

static const entry table[REAP_OPERATORS] = {
    [REAP_OP_Abs] = {.apply = absolute},
    [REAP_OP_Neg] = {.apply = negated},
    [REAP_OP_Reciprocal] = {.apply = reciprocal},
    [REAP_OP_Sqrt] = {.apply = square_root},
    [REAP_OP_Exp] = {.apply = exponential},
    [REAP_OP_Log] = {.apply = logarithm},
    [REAP_OP_Sin] = {.apply = sine},
    [REAP_OP_Cos] = {.apply = cosine},
    [REAP_OP_Erf] = {.apply = error_function},
    [REAP_OP_Tanh] = {.apply = hyperbolic_tangent},
    [REAP_OP_Sigmoid] = {.apply = sigmoid},
    [REAP_OP_HardSigmoid] = {hard_sigmoid, "alpha", 0.2f, "beta", 0.5f},
    [REAP_OP_HardSwish] = {.apply = hard_swish},
    [REAP_OP_LeakyRelu] = {leaky_relu, "alpha", 0.01f, NULL, 0},
    [REAP_OP_Elu] = {elu, "alpha", 1.0f, NULL, 0},
    [REAP_OP_Selu] = {selu, "alpha", 1.67326319f, "gamma", 1.05070102f},
    [REAP_OP_Celu] = {celu, "alpha", 1.0f, NULL, 0},
    [REAP_OP_Softplus] = {.apply = softplus_of},
    [REAP_OP_Softsign] = {.apply = softsign},
    [REAP_OP_Mish] = {.apply = mish_of},
    [REAP_OP_Gelu] = {.apply = gelu_exact},
};

static const entry gelu_form = {.apply = gelu_tanh}; /* with approximate = tanh */

bool reap_is_elementwise(const reap_operator *op) { return table[op->id].apply != NULL; }

int reap_elementwise_of(const reap_node *node, reap_elementwise *f) {
  const entry *e = &table[node->op->id];
  const char *form = reap_node_string(node, "approximate", "none");
  if (!e->apply) return reap_node_error(node, "is no function of one number");
  if (node->op->id == REAP_OP_Gelu && strcmp(form, "none") != 0) {
    if (strcmp(form, "tanh") != 0) return reap_node_error(node, "approximate = %s is not known", form);
    e = &gelu_form;
  }
  f->apply = e->apply;
  f->a = e->name_a ? reap_node_float(node, e->name_a, e->a) : 0;
  f->b = e->name_b ? reap_node_float(node, e->name_b, e->b) : 0;
  return REAP_OK;
}
