// Eight lanes at once, for kernels that only ever add along a lane: each lane sees the very operations it would see in
// a vector of four, so the bits are the same. One register on x86-64, two elsewhere.
#pragma once

#include "simd.h"

// What lies at p is read again behind this: else the compiler keeps more of it at hand than it has registers.
#define EH_READ_AGAIN(p) __asm__ volatile("" : : "r"(p) : "memory")

#if EH_HAS_V8
typedef v8 v4_twice;  // the same four numbers in both halves

static inline v8 v8_set1(float a) { return (v8){a, a, a, a, a, a, a, a}; }
static inline v8 v8_add(v8 a, v8 b) { return a + b; }
static inline v8 v8_sub(v8 a, v8 b) { return a - b; }
// Loads of weights that stay one load, where a compiler would make four of it that each fetch a single number.
static inline v4 v4_load_whole(const float *p) {
    v4 v = v4_load(p);
    __asm__("" : "+x"(v));
    return v;
}
static inline v4_twice v4_load_twice(const float *p) {
    v8 v = (v8)_mm256_broadcast_ps((const __m128 *)(const void *)p);
    __asm__("" : "+x"(v));
    return v;
}
// a * w[j] + c with one rounding; j is a literal
#define V8_FMA_LANE(a, w, j, c) \
    ((v8)_mm256_fmadd_ps((__m256)(a), _mm256_permute_ps((__m256)(w), (j)*0x55), (__m256)(c)))
#define V4_FMA_LANE(a, w, j, c) v4_fma(a, __builtin_shufflevector(w, w, j, j, j, j), c)
#else
typedef struct {
    v4 low, high;
} v8;
typedef v4 v4_twice;

static inline v8 v8_load(const float *p) { return (v8){v4_load(p), v4_load(p + 4)}; }
static inline void v8_store(float *p, v8 v) {
    v4_store(p, v.low);
    v4_store(p + 4, v.high);
}
static inline v8 v8_set1(float a) { return (v8){v4_set1(a), v4_set1(a)}; }
static inline v8 v8_add(v8 a, v8 b) { return (v8){a.low + b.low, a.high + b.high}; }
static inline v8 v8_sub(v8 a, v8 b) { return (v8){a.low - b.low, a.high - b.high}; }
static inline v8 v8_fma(v8 a, v8 b, v8 c) { return (v8){v4_fma(a.low, b.low, c.low), v4_fma(a.high, b.high, c.high)}; }
static inline v4 v4_load_whole(const float *p) { return v4_load(p); }
static inline v4_twice v4_load_twice(const float *p) { return v4_load(p); }
#if defined(__aarch64__)
#define V4_FMA_LANE(a, w, j, c) ((v4)vfmaq_laneq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(w), j))
#else
#define V4_FMA_LANE(a, w, j, c) v4_fma(a, v4_set1((w)[j]), c)
#endif
#define V8_FMA_LANE(a, w, j, c) ((v8){V4_FMA_LANE((a).low, w, j, (c).low), V4_FMA_LANE((a).high, w, j, (c).high)})
#endif
