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

static inline v4 raised(v4 peak, v4 to) { return v4_select((to > peak) & (to < v4_set1(1e30f)), to, peak); }

void eh_true_peak_stereo(const float *x, size_t n_frames, float *sample_peak, float *between_peak) {
    v4 sample = v4_set1(0.0f), inner = sample;
    size_t n = 0;
    for (; n + 2 <= n_frames; n += 2) {  // a vector is two frames of two lanes
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
