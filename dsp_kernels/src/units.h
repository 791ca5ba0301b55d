// Decibels, time constants and the few functions they need, in double, without libm: the same bits on every machine.
#pragma once

#include <stdint.h>
#include <string.h>

#define EH_PI 3.14159265358979323846
#define EH_LN2 0.69314718055994530942
#define EH_DB_PER_LOG2 6.02059991327962390427  // 20 log10(2)

// 2^x. Taylor series of e^(f ln 2), |f| <= 1/2; relative error below 1e-15. Saturates at 2^+/-1000.
static inline double eh_exp2(double x) {
    if (!(x > -1000.0)) return 0.0;
    if (x > 1000.0) x = 1000.0;
    const int64_t whole = (int64_t)(x + (x < 0 ? -0.5 : 0.5));
    const double f = (x - (double)whole) * EH_LN2;
    double sum = 1.0;
    for (int n = 14; n >= 1; n--) sum = 1.0 + sum * f / n;
    const uint64_t bits = (uint64_t)(whole + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

// log2(x) for normal x > 0; -1000 otherwise. atanh series on the mantissa in [sqrt(1/2), sqrt(2)).
static inline double eh_log2(double x) {
    if (!(x > 2.3e-308)) return -1000.0;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t exponent = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.41421356237309504880) {
        m *= 0.5;
        exponent++;
    }
    const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
    double sum = 0.0;
    for (int n = 25; n >= 1; n -= 2) sum = sum * s2 + 1.0 / n;
    return (double)exponent + 2.0 * s * sum / EH_LN2;
}

// sin and cos for |x| <= pi, by Taylor series on a quarter of the angle and two doublings.
static inline void eh_sincos(double x, double *sine, double *cosine) {
    const double q = 0.25 * x, q2 = q * q;
    double s = 1.0, c = 1.0;
    for (int n = 17; n >= 3; n -= 2) s = 1.0 - s * q2 / (n * (n - 1));
    for (int n = 16; n >= 2; n -= 2) c = 1.0 - c * q2 / (n * (n - 1));
    s *= q;
    for (int i = 0; i < 2; i++) {
        const double t = 2.0 * s * c;
        c = 1.0 - 2.0 * s * s;
        s = t;
    }
    *sine = s;
    *cosine = c;
}

static inline double eh_tan(double x) {
    double s, c;
    eh_sincos(x, &s, &c);
    return s / c;
}

static inline double eh_db_to_lin(double gain_db) { return eh_exp2(gain_db / EH_DB_PER_LOG2); }
static inline double eh_lin_to_db(double gain_lin) { return eh_log2(gain_lin) * EH_DB_PER_LOG2; }
static inline double eh_power_to_db(double power) { return eh_log2(power) * (EH_DB_PER_LOG2 / 2); }
// A fader at the bottom of its range is off, not -90 dB.
static inline double eh_fader_to_lin(double level_db) { return level_db <= -90.0 ? 0.0 : eh_db_to_lin(level_db); }

// One-pole smoothing for time constant tau:  a = exp(-1 / (tau_s * rate)),  y[n] = a*y[n-1] + (1-a)*x[n]
// After tau the output has covered 1 - 1/e (63 %) of a step.  Giannoulis, Massberg, Reiss, JAES 60(6), 2012.
static inline double eh_one_pole_coeff(double tau_ms, double rate_hz) {
    return tau_ms <= 0.0 ? 0.0 : eh_exp2(-1000.0 / (tau_ms * rate_hz) / EH_LN2);
}
