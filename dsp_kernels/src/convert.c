// Sample formats and the input guard. Bytes are put together unsigned: a negative number must not be shifted.
#include "evenhand/convert.h"

#include "simd.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the formats are little-endian, and so is every board"
#endif

typedef uint32_t v4u __attribute__((vector_size(16)));
typedef uint8_t v16u8 __attribute__((vector_size(16)));

enum { INFINITY_BITS = 0x7f800000, ONE_BITS = 0x3f800000, LEAST_NORMAL_BITS = 0x00800000 };

// To the nearest integer, ties to even, of numbers inside the range of int32.
static inline v4i round_to_int(v4 a) {
#if defined(__x86_64__)
    return (v4i)_mm_cvtps_epi32((__m128)a);
#elif defined(__aarch64__)
    return (v4i)vcvtnq_s32_f32((float32x4_t)a);
#else
    return (v4i){(int32_t)__builtin_rintf(a[0]), (int32_t)__builtin_rintf(a[1]), (int32_t)__builtin_rintf(a[2]),
                 (int32_t)__builtin_rintf(a[3])};
#endif
}
static inline v4 to_float(v4i a) { return __builtin_convertvector(a, v4); }

// Rounds y and keeps it between bounds that are integers; NaN becomes 0.
static inline v4i quantise(v4 y, float low, float high) {
    const v4 number = (v4)((v4i)y & (y == y));
    return round_to_int(v4_min(v4_max(number, v4_set1(low)), v4_set1(high)));
}

// The bounds are those of the integers themselves, and what A64 makes of a number beyond them, or of none, is the rule.
static inline v4i quantise_to_s32(v4 x) {
    const v4 y = x * 0x1p31f;
#if defined(__x86_64__)  // gives INT32_MIN for all of these
    return (round_to_int(y) ^ (y >= 0x1p31f)) & (y == y);
#elif defined(__aarch64__)
    return round_to_int(y);
#else
    return quantise(y, -0x1p31f, 0x1.fffffep30f) | ((y >= 0x1p31f) & 0x7f);
#endif
}

static inline v4 from_s32(v4i q) {
#if defined(__aarch64__)  // rounds once, as the others do: a power of two changes no digit
    return (v4)vcvtq_n_f32_s32((int32x4_t)q, 31);
#else
    return to_float(q) * v4_set1(0x1p-31f);
#endif
}

void eh_convert_from_s32(const int32_t *in, float *out, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k += 4) {
            v4i q;
            memcpy(&q, in + i + k, sizeof q);
            v4_store(out + i + k, from_s32(q));
        }
    for (; i < n; i++) out[i] = (float)in[i] * 0x1p-31f;
}

void eh_convert_from_s16(const int16_t *in, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (float)in[i] * 0x1p-15f;
}

void eh_convert_from_s24_3(const uint8_t *in, float *out, size_t n) {
    size_t i = 0;
    // Four samples are 12 bytes of the 16 loaded: the last ones go one by one.
    for (; i + 6 <= n; i += 4) {
        v16u8 bytes;
        memcpy(&bytes, in + 3 * i, sizeof bytes);
        const v16u8 high =
            __builtin_shufflevector(bytes, (v16u8){0}, 16, 0, 1, 2, 16, 3, 4, 5, 16, 6, 7, 8, 16, 9, 10, 11);
        v4_store(out + i, to_float((v4i)high) * v4_set1(0x1p-31f));
    }
    for (; i < n; i++) {
        const uint8_t *b = in + 3 * i;
        out[i] = (float)(int32_t)((uint32_t)b[0] << 8 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 24) * 0x1p-31f;
    }
}

// Up to four samples; what follows them is neither read nor written.
static inline v4 load(const float *p, size_t n) {
    v4 v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void store_s32(v4 x, int32_t *out, size_t n) {
    const v4i q = quantise_to_s32(x);
    memcpy(out, &q, n * sizeof *out);
}

static inline void store_s24_3(v4 x, uint8_t *out, size_t n) {
    const v16u8 q = (v16u8)quantise(x * 0x1p23f, -0x1p23f, 0x1p23f - 1);
    const v16u8 packed = __builtin_shufflevector(q, q, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
    memcpy(out, &packed, 3 * n);
}

static inline void store_s16(v4 x, v4 dither, int16_t *out, size_t n) {
    typedef int16_t v8i16 __attribute__((vector_size(16)));
    const v8i16 q = (v8i16)quantise(v4_fma(x, v4_set1(0x1p15f), dither), -0x1p15f, 0x1p15f - 1);
    const v8i16 packed = __builtin_shufflevector(q, q, 0, 2, 4, 6, 0, 2, 4, 6);
    memcpy(out, &packed, n * sizeof *out);
}

void eh_convert_to_s32(const float *in, int32_t *out, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k += 4) store_s32(v4_load(in + i + k), out + i + k, 4);
    for (; i + 4 <= n; i += 4) store_s32(v4_load(in + i), out + i, 4);
    if (i < n) store_s32(load(in + i, n - i), out + i, n - i);
}

void eh_convert_to_s24_3(const float *in, uint8_t *out, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) store_s24_3(v4_load(in + i), out + 3 * i, 4);
    if (i < n) store_s24_3(load(in + i, n - i), out + 3 * i, n - i);
}

// Sum of two uniform 16-bit numbers out of a hash of the sample's number, in LSB: a triangle over -1 .. 1 with mean 0.
// The hash is the finaliser of MurmurHash3 (Appleby, public domain).
static inline v4 triangle(v4u number) {
    v4u h = number ^ number >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    h ^= h >> 16;
    return to_float((v4i)(h & 0xffffu) + (v4i)(h >> 16) - 0xffff) * v4_set1(0x1p-16f);
}

void eh_convert_to_s16(const float *in, int16_t *out, size_t n, uint32_t *dither_seed) {
    const uint32_t first = dither_seed ? *dither_seed : 0;
    const v4 amount = v4_set1(dither_seed ? 1.0f : 0.0f);
    v4u number = (v4u){0, 1, 2, 3} + first;
    size_t i = 0;
    for (; i + 4 <= n; i += 4, number += 4) store_s16(v4_load(in + i), triangle(number) * amount, out + i, 4);
    if (i < n) store_s16(load(in + i, n - i), triangle(number) * amount, out + i, n - i);
    if (dither_seed) *dither_seed = first + (uint32_t)n;
}

static inline v4u v4u_max(v4u a, v4u b) {
#if defined(__x86_64__)
    return (v4u)_mm_max_epu32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    return (v4u)vmaxq_u32((uint32x4_t)a, (uint32x4_t)b);
#else
    return (a & (v4u)(a > b)) | (b & ~(v4u)(a > b));
#endif
}
static inline v4u v4u_min(v4u a, v4u b) {
#if defined(__x86_64__)
    return (v4u)_mm_min_epu32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    return (v4u)vminq_u32((uint32x4_t)a, (uint32x4_t)b);
#else
    return ~v4u_max(~a, ~b);
#endif
}

static inline void copy_vector(const float *in, float *out, v4u *most, v4u *least) {
    const v4 x = v4_load(in);
    const v4u magnitude = (v4u)x + (v4u)x;
    *most = v4u_max(*most, magnitude);
    *least = v4u_min(*least, magnitude - 1);
    v4_store(out, x);
}

// Copies; returns whether every sample is an ordinary number: zero, or from the smallest normal number to under 1. The
// bits twice over have no sign; one less, and zero is the largest of all.
static int copy_ordinary(const float *in, float *out, size_t n) {
    v4u most = {0}, least = ~most;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k += 4) copy_vector(in + i + k, out + i + k, &most, &least);
    for (; i < n; i += 4) copy_vector(in + i, out + i, &most, &least);
    return !v4_any((v4i)(most >= 2u * ONE_BITS) | (v4i)(least < 2u * LEAST_NORMAL_BITS - 1));
}

void eh_scrub(const float *in, float *out, size_t n_frames, int n_lanes, float limit_lin, uint32_t *n_bad,
              uint32_t *n_clipped) {
    if (limit_lin >= 1.0f && copy_ordinary(in, out, n_frames * (size_t)n_lanes)) return;
    const size_t stride = (size_t)n_lanes;
    const v4 limit = v4_set1(limit_lin);
    for (size_t first = 0; first < stride; first += 4) {
        v4i bad = {0}, loud = {0};  // counted downwards: a true comparison is -1
        for (size_t at = first; at < n_frames * stride; at += stride) {
            const v4 x = v4_load(in + at);
            const v4i magnitude = (v4i)v4_abs(x);
            const v4i is_bad = magnitude >= INFINITY_BITS;
            bad += is_bad;
            loud += magnitude >= ONE_BITS;
            const v4 number = (v4)((v4i)x & ~is_bad & (magnitude >= LEAST_NORMAL_BITS));
            v4_store(out + at, v4_min(v4_max(number, -limit), limit));
        }
        for (size_t l = 0; l < 4; l++) {
            n_bad[first + l] -= (uint32_t)bad[l];
            n_clipped[first + l] += (uint32_t)bad[l] - (uint32_t)loud[l];
        }
    }
}
