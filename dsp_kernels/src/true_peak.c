// Peaks between the samples after ITU-R BS.1770-4 annex 2: 48 taps in 4 phases, of which the first is the sample
// itself.
#include "true_peak.h"

#include "simd.h"

#define FOUR(a) \
    { a, a, a, a }

// h(t) = sinc(t) cos^2(pi t / 12), t in samples: a sinc under a Hann window of 12 samples. Taps i and 11 - i lie at
// t and 1 - t, so with e = x[i] + x[11-i] and o = x[i] - x[11-i] the points a quarter before and after the middle are
// sum(E e) + sum(O o) and sum(E e) - sum(O o); the larger magnitude is |sum(E e)| + |sum(O o)|.
// tests/test_loudness.py computes them anew.
static const v4 EVEN[6] = {FOUR(-0.000899584091f), FOUR(0.00762796914f), FOUR(-0.0243168771f),
                           FOUR(0.0577117614f),    FOUR(-0.132457629f),  FOUR(0.592574239f)};
static const v4 ODD[6] = {FOUR(-0.000732142071f), FOUR(0.00273198588f), FOUR(-0.0057908711f),
                          FOUR(0.0114467079f),    FOUR(-0.0290009007f), FOUR(0.303890884f)};
static const v4 MIDDLE[6] = {FOUR(-0.000986013329f), FOUR(0.010358979f),  FOUR(-0.0337036029f),
                             FOUR(0.0801389068f),    FOUR(-0.181129649f), FOUR(0.625773609f)};

// The largest magnitude between the sixth and the seventh of 12 samples, `stride` floats apart.
static inline v4 between(const float *oldest, size_t stride) {
    v4 even = v4_set1(0.0f), odd = even, middle = even;
    for (size_t i = 0; i < 6; i++) {
        const v4 a = v4_load(oldest + i * stride), b = v4_load(oldest + (11 - i) * stride);
        const v4 e = a + b, o = a - b;
        even = v4_fma(e, EVEN[i], even);
        odd = v4_fma(o, ODD[i], odd);
        middle = v4_fma(e, MIDDLE[i], middle);
    }
    return v4_max(v4_abs(even) + v4_abs(odd), v4_abs(middle));
}

void eh_true_peak_bank(const float *x, float *peak, size_t n_frames) {
    for (size_t n = 0; n < n_frames; n++) v4_store(peak + 4 * n, between(x + 4 * n - 4 * 11, 4));
}

#define TOO_LARGE 1e30f
static inline v4 raised(v4 peak, v4 to) { return v4_select((to > peak) & (to < v4_set1(TOO_LARGE)), to, peak); }

static inline v4i magnitude_of(const float *x) { return (v4i)v4_abs(v4_load(x)); }

// Whether nothing between samples of this magnitude can pass the peaks held. Magnitudes are compared as bits, where a
// NaN is merely very large.
static inline int is_below(v4i magnitude, v4 held) {
    const v4 most = (v4)magnitude * v4_set1(EH_TRUE_PEAK_OVERSHOOT_LIN);
    return !v4_any(~(most <= held));
}

static inline v4i other_half(v4i a) { return __builtin_shufflevector(a, a, 2, 3, 0, 1); }

void eh_true_peak_stereo(const float *x, size_t n_frames, float *sample_peak, float *between_peak) {
    enum { PIECE = 8 };  // frames, of which most are far below the highest peak so far
    v4 sample = {sample_peak[0], sample_peak[1], sample_peak[0], sample_peak[1]};
    v4 inner = {between_peak[0], between_peak[1], between_peak[0], between_peak[1]};
    v4i older = {0}, last = magnitude_of(x - 4);  // magnitudes of the two pieces before: at first, of the 11 frames
    for (int i = -2 * (EH_TRUE_PEAK_TAPS - 1); i < -4; i += 4) last = v4i_max(last, magnitude_of(x + i));
    size_t n = 0;
    for (; n + PIECE <= n_frames; n += PIECE) {  // a vector is two frames of two lanes
        const float *piece = x + 2 * n;
        const v4i now = v4i_max(v4i_max(magnitude_of(piece), magnitude_of(piece + 4)),
                                v4i_max(magnitude_of(piece + 8), magnitude_of(piece + 12)));
        const v4i around = v4i_max(v4i_max(older, last), now);
        older = last, last = now;
        if (!v4_any(now >= (v4i)v4_set1(TOO_LARGE)))
            sample = v4_max(sample, (v4)now);
        else
            for (size_t i = 0; i < 2 * PIECE; i += 4) sample = raised(sample, v4_abs(v4_load(piece + i)));
        if (is_below(v4i_max(around, other_half(around)), inner)) continue;
        for (size_t i = 0; i < 2 * PIECE; i += 4) inner = raised(inner, between(piece + i - 2 * 11, 2));
        inner = v4_max(inner, (v4)other_half((v4i)inner));
    }
    for (; n + 2 <= n_frames; n += 2) {
        sample = raised(sample, v4_abs(v4_load(x + 2 * n)));
        inner = raised(inner, between(x + 2 * n - 2 * 11, 2));
    }
    if (n < n_frames) {  // the last frame stands in both halves
        float pair[2 * (EH_TRUE_PEAK_TAPS + 1)];
        memcpy(pair, x + 2 * n - 2 * 11, 2 * EH_TRUE_PEAK_TAPS * sizeof(float));
        memcpy(pair + 2 * EH_TRUE_PEAK_TAPS, x + 2 * n, 2 * sizeof(float));
        const v4 both = between(pair, 2);
        sample = raised(sample, v4_abs((v4){x[2 * n], x[2 * n + 1], x[2 * n], x[2 * n + 1]}));
        inner = raised(inner, __builtin_shufflevector(both, both, 0, 1, 0, 1));
    }
    for (int lane = 0; lane < 4; lane++) {
        if (sample[lane] > sample_peak[lane & 1]) sample_peak[lane & 1] = sample[lane];
        if (inner[lane] > between_peak[lane & 1]) between_peak[lane & 1] = inner[lane];
    }
}
