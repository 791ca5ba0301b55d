// Vectors of four lanes: the canonical width, so that every build gives the same bits. Fused multiply-add is always
// explicit; the compiler's own contraction is off.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#if !defined(__FMA__)
#error "build for x86-64-v3 or later: without FMA the output would differ in its last bits"
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// Before a loop that steps frame by frame: four frames a turn, and the counting hardly costs anything.
#if defined(__clang__)
#define EH_FOUR_A_TURN _Pragma("clang loop unroll_count(4)")
#else
#define EH_FOUR_A_TURN _Pragma("GCC unroll 4")
#endif

typedef float v4 __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));

static inline v4 v4_load(const float *p) {
    v4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v4_store(float *p, v4 v) { memcpy(p, &v, sizeof v); }
static inline v4 v4_set1(float a) { return (v4){a, a, a, a}; }

// a * b + c with one rounding
static inline v4 v4_fma(v4 a, v4 b, v4 c) {
#if defined(__x86_64__)
    return (v4)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(__aarch64__)
    return (v4)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return (v4){__builtin_fmaf(a[0], b[0], c[0]), __builtin_fmaf(a[1], b[1], c[1]), __builtin_fmaf(a[2], b[2], c[2]),
                __builtin_fmaf(a[3], b[3], c[3])};
#endif
}
// c - a * b with one rounding
static inline v4 v4_fnma(v4 a, v4 b, v4 c) {
#if defined(__x86_64__)
    return (v4)_mm_fnmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(__aarch64__)
    return (v4)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return v4_fma(-a, b, c);
#endif
}

// Lane by lane: mask ? a : b. Masks are all ones or all zeros, as comparisons give them.
static inline v4 v4_select(v4i mask, v4 a, v4 b) {
#if defined(__x86_64__)
    return (v4)_mm_blendv_ps((__m128)b, (__m128)a, (__m128)mask);
#elif defined(__aarch64__)
    return (v4)vbslq_f32((uint32x4_t)mask, (float32x4_t)a, (float32x4_t)b);
#else
    return (v4)(((v4i)a & mask) | ((v4i)b & ~mask));
#endif
}
// For numbers; what comes of a NaN, or of zeros of both signs, is the machine's choice.
static inline v4 v4_max(v4 a, v4 b) {
#if defined(__x86_64__)
    return (v4)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
    return (v4)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#else
    return v4_select(a > b, a, b);
#endif
}
static inline v4 v4_min(v4 a, v4 b) {
#if defined(__x86_64__)
    return (v4)_mm_min_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
    return (v4)vminq_f32((float32x4_t)a, (float32x4_t)b);
#else
    return v4_select(a < b, a, b);
#endif
}
static inline v4 v4_abs(v4 a) {
#if defined(__aarch64__)
    return (v4)vabsq_f32((float32x4_t)a);
#else
    return (v4)((v4i)a & 0x7fffffff);
#endif
}
static inline v4 v4_swap_pairs(v4 a) { return __builtin_shufflevector(a, a, 1, 0, 3, 2); }  // lanes 1 0 3 2
static inline int v4_any(v4i mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
static inline v4 v4_sqrt(v4 a) {
#if defined(__x86_64__)
    return (v4)_mm_sqrt_ps((__m128)a);
#elif defined(__aarch64__)
    return (v4)vsqrtq_f32((float32x4_t)a);
#else
    return (v4){__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
#endif
}
