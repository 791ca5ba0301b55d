// Chroma by resonators: the sum of the lanes, decimated, drives two complex one-poles in a row for each semitone,
//   y[n] = g x[n] + r e^(jw) y[n-1],   r = exp(-2 pi B / fs),   g = 1 - r,
// each 3 dB down at B = 0.02 of the note. A semitone away the pair is 20 dB down; 65 Hz takes a quarter of a second.
#include "evenhand/chroma.h"

#include "bank.h"
#include "simd.h"
#include "units.h"

#define LOWEST_HZ 65.40639132514966  // C2
#define DECIMATED_HZ 6000.0f         // at least: aliases of 4 kHz and up fall on 2 kHz and up
#define BANDWIDTH 0.02
#define INPUT_LIMIT_LIN 1000.0f
#define SILENT_LIN 1e-5f
enum { TAPS_PER_OUTPUT = 12 };

static void make_taps(eh_chroma *c) {  // sinc of half the decimated rate, Hann window
    double sine, cosine, sum = 0.0, tap[EH_CHROMA_MAX_TAPS];
    for (int i = 0; i < c->n_taps; i++) {
        const double x = i - 0.5 * (c->n_taps - 1), turns = 0.5 * x / c->factor;
        eh_sincos(2 * EH_PI * (turns - (int)(turns + (turns < 0 ? -0.5 : 0.5))), &sine, &cosine);
        const double sinc = x == 0.0 ? 1.0 : sine / (2 * EH_PI * turns);
        eh_sincos(EH_PI * x / c->n_taps, &sine, &cosine);
        sum += tap[i] = sinc * cosine * cosine;
    }
    for (int i = 0; i < c->n_taps; i++) c->tap[i] = (float)(tap[i] / sum);
}

eh_status eh_chroma_init(eh_chroma *c, float sample_rate_hz) {
    const eh_status status = eh_bank_check(sample_rate_hz, EH_LANES_PER_VECTOR);
    if (status != EH_OK) return status;
    *c = (eh_chroma){.sample_rate_hz = sample_rate_hz, .factor = (int)(sample_rate_hz / DECIMATED_HZ)};
    if (c->factor < 1) c->factor = 1;
    c->n_taps = TAPS_PER_OUTPUT * c->factor;
    make_taps(c);
    const double rate_hz = (double)sample_rate_hz / c->factor;
    for (int note = 0; note < EH_CHROMA_NOTES; note++) {
        const double freq_hz = LOWEST_HZ * eh_exp2(note / 12.0);
        const double r = eh_exp2(-2 * EH_PI * BANDWIDTH * freq_hz / rate_hz / EH_LN2);
        double sine, cosine;
        eh_sincos(2 * EH_PI * freq_hz / rate_hz, &sine, &cosine);
        c->turn_re[note] = (float)(r * cosine);
        c->turn_im[note] = (float)(r * sine);
        c->gain[note] = (float)(1.0 - r);
    }
    return EH_OK;
}

void eh_chroma_reset(eh_chroma *c) {
    c->phase = c->at = 0;
    memset(c->ring, 0, sizeof c->ring);
    memset(c->state, 0, sizeof c->state);
}

static inline float sum_of_lanes(const float *frame, int n_lanes) {
    const v4 zero = v4_set1(0.0f);
    v4 sum = zero;
    for (int lane = 0; lane < n_lanes; lane += EH_LANES_PER_VECTOR) {
        const v4 x = v4_load(frame + lane);
        sum += v4_select(v4_abs(x) <= v4_set1(INPUT_LIMIT_LIN), x, zero);
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static float decimated(const eh_chroma *c) {
    const float *x = c->ring + c->at;  // the oldest of the last n_taps
    v4 sum = v4_set1(0.0f);
    for (int i = 0; i < c->n_taps; i += EH_LANES_PER_VECTOR) sum = v4_fma(v4_load(x + i), v4_load(c->tap + i), sum);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void resonate(eh_chroma *c, float input) {
    const v4 x = v4_set1(input);
    for (int i = 0; i < EH_CHROMA_NOTES; i += EH_LANES_PER_VECTOR) {
        const v4 a = v4_load(c->turn_re + i), b = v4_load(c->turn_im + i), g = v4_load(c->gain + i);
        v4 re[2], im[2];
        for (int k = 0; k < 2; k++) {
            const v4 old_re = v4_load(c->state[2 * k] + i), old_im = v4_load(c->state[2 * k + 1] + i);
            const v4 in_re = k == 0 ? x * g : re[0] * g;
            re[k] = v4_fma(a, old_re, v4_fnma(b, old_im, in_re));
            im[k] = v4_fma(a, old_im, k == 0 ? b * old_re : v4_fma(b, old_re, im[0] * g));
            v4_store(c->state[2 * k] + i, re[k]);
            v4_store(c->state[2 * k + 1] + i, im[k]);
        }
    }
}

void eh_chroma_process(eh_chroma *c, const float *in, int n_lanes, size_t n_frames) {
    for (size_t n = 0; n < n_frames; n++) {
        c->ring[c->at] = c->ring[c->at + c->n_taps] = sum_of_lanes(in + n * (size_t)n_lanes, n_lanes);
        c->at = c->at + 1 == c->n_taps ? 0 : c->at + 1;
        if (++c->phase < c->factor) continue;
        c->phase = 0;
        resonate(c, decimated(c));
    }
}

void eh_chroma_read(const eh_chroma *c, float *chroma) {
    enum { N = 12 / EH_LANES_PER_VECTOR };
    v4 sum[N] = {v4_set1(0.0f), v4_set1(0.0f), v4_set1(0.0f)};
    for (int i = 0; i < EH_CHROMA_NOTES; i += EH_LANES_PER_VECTOR) {
        const v4 re = v4_load(c->state[2] + i), im = v4_load(c->state[3] + i);
        sum[i / EH_LANES_PER_VECTOR % N] += v4_sqrt(v4_fma(re, re, im * im));
    }
    const v4 most = v4_max(v4_max(sum[0], sum[1]), sum[2]);
    float largest = most[0];
    for (int i = 1; i < EH_LANES_PER_VECTOR; i++) largest = most[i] > largest ? most[i] : largest;
    for (int i = 0; i < N; i++)
        v4_store(chroma + i * EH_LANES_PER_VECTOR, largest > SILENT_LIN ? sum[i] / largest : v4_set1(0.0f));
}
