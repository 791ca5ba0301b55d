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

// Before a loop of n rounds, or one that steps frame by frame: n at once, and the counting hardly costs anything.
#define EH_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define EH_UNROLL(n) EH_PRAGMA(clang loop unroll_count(n))
#else
#define EH_UNROLL(n) EH_PRAGMA(GCC unroll n)
#endif

// Where four frames of a loop lie. On A64 a compiler that knows these for multiples of one stride spends an addition on
// each address; as unrelated numbers they are index registers, and four frames move one pointer.
typedef struct {
    size_t at[4];
} eh_turn;

static inline eh_turn eh_turn_of(size_t stride) {
    eh_turn turn = {{0, stride, 2 * stride, 3 * stride}};
#if defined(__aarch64__)
    __asm__("" : "+r"(turn.at[1]), "+r"(turn.at[2]), "+r"(turn.at[3]));
#endif
    return turn;
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v2 __attribute__((vector_size(8)));
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
// The rows of a matrix become its columns.
static inline void v4_transpose(v4 *rows) {
    const v4 ab_low = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
    const v4 ab_high = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
    const v4 cd_low = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
    const v4 cd_high = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
    rows[0] = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    rows[1] = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    rows[2] = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    rows[3] = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}
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

static inline v4i v4i_load(const int32_t *p) {
    v4i v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v4i_store(int32_t *p, v4i v) { memcpy(p, &v, sizeof v); }
static inline v4i v4i_max(v4i a, v4i b) {
#if defined(__x86_64__)
    return (v4i)_mm_max_epi32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    return (v4i)vmaxq_s32((int32x4_t)a, (int32x4_t)b);
#else
    return (a & (a > b)) | (b & ~(a > b));
#endif
}
static inline v4i v4i_min(v4i a, v4i b) {
#if defined(__x86_64__)
    return (v4i)_mm_min_epi32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    return (v4i)vminq_s32((int32x4_t)a, (int32x4_t)b);
#else
    return ~v4i_max(~a, ~b);
#endif
}

#if defined(__x86_64__)
// Two neighbouring vectors as one, for kernels whose lanes know nothing of each other: the same bits in half the time.
// There is no such thing on A64.
#define EH_HAS_V8 1
typedef float v8 __attribute__((vector_size(32)));

static inline v8 v8_load(const float *p) {
    v8 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v8_store(float *p, v8 v) { memcpy(p, &v, sizeof v); }
static inline v8 v8_fma(v8 a, v8 b, v8 c) { return (v8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
static inline v8 v8_fnma(v8 a, v8 b, v8 c) { return (v8)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c); }
static inline v8 v8_join(v4 low, v4 high) {
    return (v8)_mm256_insertf128_ps(_mm256_castps128_ps256((__m128)low), (__m128)high, 1);
}
static inline v4 v8_low(v8 a) { return (v4)_mm256_castps256_ps128((__m256)a); }
static inline v4 v8_high(v8 a) { return (v4)_mm256_extractf128_ps((__m256)a, 1); }
#else
#define EH_HAS_V8 0
#endif
