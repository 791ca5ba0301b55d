// log2 and exp2 of four lanes, for gains: polynomials fitted by reference/log2exp2.py, same bits on every machine.
#pragma once

#include "simd.h"

typedef uint32_t v4u __attribute__((vector_size(16)));

// log2(x), x a normal number above 0. Within 3e-6 (2e-5 dB).
// x = 2^e (1 + t), 1 + t in [sqrt(1/2), sqrt(2)); the bits of sqrt(1/2) are 0x3f3504f3. Estrin's order: half the
// latency.
static inline v4 v4_log2(v4 x) {
    const v4i exponent = ((v4i)x - 0x3f3504f3) >> 23;
    const v4 t = (v4)((v4u)x - ((v4u)exponent << 23)) - 1.0f, t2 = t * t;
    const v4 low = v4_fma(v4_set1(-0.721131861f), t, v4_set1(1.4427135f));
    const v4 middle = v4_fma(v4_set1(-0.367490262f), t, v4_set1(0.479348063f));
    const v4 high = v4_fma(v4_set1(-0.206589893f), t, v4_set1(0.322154313f));
    const v4 p = v4_fma(v4_fma(high, t2, middle), t2, low);
    return v4_fma(p, t, __builtin_convertvector(exponent, v4));
}

// 2^x for x in [-120, 120]. Relative error below 4e-6 (3e-5 dB); 1 exactly at 0.
// Adding 1.5 * 2^23 leaves the nearest whole number in the low bits, ready to be shifted into the exponent.
static inline v4 v4_exp2(v4 x) {
    const v4 magic = v4_set1(12582912.0f), shifted = x + magic, f = x - (shifted - magic), f2 = f * f;
    const v4 low = v4_fma(v4_set1(0.693124175f), f, v4_set1(1.0f));
    const v4 high = v4_fma(v4_set1(0.0559064299f), f, v4_set1(0.240240991f));
    const v4 p = v4_fma(v4_fma(v4_set1(0.00958285108f), f2, high), f2, low);
    return (v4)((v4u)p + ((v4u)shifted << 23));
}

// 1 - 2^-z for z in [0, 1.25]: the share of a step that a one-pole covers per tick, z = 1 / (tau_ticks ln 2). Relative
// error below 2e-7, where 1 - exp2(-z) would lose all digits for long time constants.
static inline v4 v4_covered(v4 z) {
    v4 q = v4_fma(v4_set1(-0.000106458552f), z, v4_set1(0.00126988895f));
    q = v4_fma(q, z, v4_set1(-0.00957753789f));
    q = v4_fma(q, z, v4_set1(0.0554921292f));
    q = v4_fma(q, z, v4_set1(-0.240225196f));
    return z * v4_fma(q, z, v4_set1(0.693147182f));
}
