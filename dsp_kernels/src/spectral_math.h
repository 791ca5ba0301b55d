// log2, exp2 and levels of four lanes at once, in float32, for analysis.
#pragma once

#include "simd.h"
#include "units.h"

// log2 of a normal x > 0, within 2e-7 or 2e-7 of its value. atanh series on the mantissa in [sqrt(1/2), sqrt(2)).
static inline v4 v4_log2(v4 x) {
    const v4i bits = (v4i)x;
    const v4i shifted = bits - 0x3f3504f3;  // sqrt(1/2): the exponent that leaves the mantissa nearest to 1
    const v4i exponent = shifted >> 23;
    const v4 m = (v4)(bits - (exponent << 23));
    const v4 s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    v4 sum = v4_fma(s2, v4_set1((float)(2 / (9 * EH_LN2))), v4_set1((float)(2 / (7 * EH_LN2))));
    sum = v4_fma(sum, s2, v4_set1((float)(2 / (5 * EH_LN2))));
    sum = v4_fma(sum, s2, v4_set1((float)(2 / (3 * EH_LN2))));
    sum = v4_fma(sum, s2, v4_set1((float)(2 / EH_LN2)));
    return v4_fma(sum, s, __builtin_convertvector(exponent, v4));
}

// 2^x for |x| <= 126, saturating there; relative error below 3e-7. Taylor series on [-1/2, 1/2].
static inline v4 v4_exp2(v4 x) {
    const v4 rounder = v4_set1(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
    x = v4_min(v4_max(x, v4_set1(-126.0f)), v4_set1(126.0f));
    const v4 whole = (x + rounder) - rounder;
    const v4 f = (x - whole) * (float)EH_LN2;
    v4 sum = v4_fma(f, v4_set1(1.0f / 5040), v4_set1(1.0f / 720));
    sum = v4_fma(sum, f, v4_set1(1.0f / 120));
    sum = v4_fma(sum, f, v4_set1(1.0f / 24));
    sum = v4_fma(sum, f, v4_set1(1.0f / 6));
    sum = v4_fma(sum, f, v4_set1(0.5f));
    sum = v4_fma(sum, f, v4_set1(1.0f));
    sum = v4_fma(sum, f, v4_set1(1.0f));
    return sum * (v4)((__builtin_convertvector(whole, v4i) + 127) << 23);
}

// 10 log10(power), never under floor_db.
static inline v4 v4_power_to_db(v4 power, float floor_db) {
    const v4 db = v4_log2(v4_max(power, v4_set1(1e-37f))) * (float)(EH_DB_PER_LOG2 / 2);
    return v4_max(db, v4_set1(floor_db));
}
