/* Functions compiled once for each of the common widths of vectors; the best version is taken when the program starts.
 *
 * For loops over short, regular rows that BLAS has no call for. FOR_EACH_WIDTH stands before a function; the compiler
 * vectorises it for each width, whatever its target options are. Results may differ in their last bits from processor
 * to processor (fused multiply-add). Under AddressSanitizer, and with compilers without the attribute, there is one
 * version.
 */
#ifndef REAP_BASE_EACH_WIDTH_H
#define REAP_BASE_EACH_WIDTH_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__) && \
    !defined(__SANITIZE_ADDRESS__)
#define FOR_EACH_WIDTH __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_WIDTH
#endif

/* Before a function that is to become part of each of these versions. */
#if defined(__GNUC__)
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static inline
#endif

/* In front of a loop whose iterations touch different elements: lets it vectorise also where the output is the first
 * input's own memory, so that `restrict` would be a lie. */
#if defined(__clang__)
#define REAP_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define REAP_INDEPENDENT _Pragma("GCC ivdep")
#else
#define REAP_INDEPENDENT
#endif

/* Eight doubles that go through each operation side by side, at any address: what the processor's vectors are narrower
 * than, the compiler splits. For loops it would otherwise vectorise the wrong way round. To be kept in local variables
 * and reached by pointer, as passing one by value depends on the target. */
typedef double reap_eight __attribute__((vector_size(64), aligned(8), may_alias));

#endif
