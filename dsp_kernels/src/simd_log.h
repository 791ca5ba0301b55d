// log2 and exp2 of four lanes, for gains that move in decibels.
#pragma once

#include "simd.h"

typedef uint32_t v4u __attribute__((vector_size(16)));

// log2(x) of normal x > 0, to 3e-5, of a power 1e-4 dB. The mantissa is taken in [sqrt(1/2), sqrt(2)), m = 1 + t, and
// log2(m) = t q(t), with q a polynomial of degree 4: least maximum error of t q(t) by Lawson's reweighted least
// squares.
static inline v4 v4_log2(v4 x) {
    const v4i above = (v4i)x - 0x3f3504f3;  // the bits of sqrt(1/2)
    const v4i exponent = above >> 23;
    const v4 t = (v4)((v4u)x - ((v4u)exponent << 23)) - 1.0f;
    v4 q = v4_set1(0.261167005f);
    q = v4_fma(q, t, v4_set1(-0.392460815f));
    q = v4_fma(q, t, v4_set1(0.484648598f));
    q = v4_fma(q, t, v4_set1(-0.720462466f));
    q = v4_fma(q, t, v4_set1(1.44265584f));
    return v4_fma(q, t, __builtin_convertvector(exponent, v4));
}

// 2^x for |x| <= 125, to 3e-6 of the value: nearest whole number by the rounding of 1.5 * 2^23, the rest, |f| <= 1/2,
// by a polynomial of degree 4, fitted likewise.
static inline v4 v4_exp2(v4 x) {
    const v4 shifted = x + 12582912.0f;
    const v4 f = x - (shifted - 12582912.0f);
    v4 p = v4_set1(0.00968570615f);
    p = v4_fma(p, f, v4_set1(0.0559220257f));
    p = v4_fma(p, f, v4_set1(0.240218656f));
    p = v4_fma(p, f, v4_set1(0.693121036f));
    p = v4_fma(p, f, v4_set1(1.00000015f));
    return (v4)((v4u)p + ((v4u)shifted << 23));
}
