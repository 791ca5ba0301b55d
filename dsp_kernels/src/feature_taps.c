// Scrubbing, level sums and K-weighting of the two taps.
#include "feature_taps.h"

#include "units.h"

// Louder than +60 dBFS is no sound but a fault, and reads as silence, as NaN does: squares and sums stay finite.
#define FAULT_LIN 1000.0f

// BS.1770-4 gives coefficients at 48 kHz only. At other rates they come from the analogue prototype that reproduces
// them (B. De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018).
static eh_kfilter design(double sample_rate_hz) {
    const double shelf_gain = eh_db_to_lin(3.999843853973347);
    const double k = eh_tan(EH_PI * 1681.974450955533 / sample_rate_hz), k_q = k / 0.7071752369554196;
    const double middle_gain = eh_exp2(0.4996667741545416 * eh_log2(shelf_gain)), a0 = 1 + k_q + k * k;
    const double h = eh_tan(EH_PI * 38.13547087602444 / sample_rate_hz), h_q = h / 0.5003270373238773;
    const double h0 = 1 + h_q + h * h;
    return (eh_kfilter){
        .b0 = (float)((shelf_gain + middle_gain * k_q + k * k) / a0),
        .b1 = (float)(2 * (k * k - shelf_gain) / a0),
        .b2 = (float)((shelf_gain - middle_gain * k_q + k * k) / a0),
        .a1 = (float)(2 * (k * k - 1) / a0),
        .a2 = (float)((1 - k_q + k * k) / a0),
        .c1 = (float)((2 * h_q + 4 * h * h) / h0),
        .c2 = (float)(4 * h * h / h0),
    };
}

void eh_taps_init(eh_taps *t, float sample_rate_hz, int n_groups, int ring_frames, eh_arena *arena) {
    const size_t n = (size_t)n_groups;
    t->n_groups = n_groups;
    t->ring_frames = (uint32_t)ring_frames;
    t->ring = eh_arena_take(arena, n * (size_t)ring_frames * sizeof(v4));
    t->filters = eh_arena_take(arena, n * EH_N_TAPS * 4 * sizeof(v4));
    t->step_sum = eh_arena_take(arena, n * EH_STEPS_PER_HOP * sizeof(v4));
    t->peak = eh_arena_take(arena, n * sizeof(v4));
    t->k_sum = eh_arena_take(arena, n * EH_N_TAPS * sizeof(v4));
    t->kfilter = design(sample_rate_hz);
}

void eh_taps_reset(eh_taps *t) {
    const size_t n = (size_t)t->n_groups;
    memset(t->ring, 0, n * t->ring_frames * sizeof(v4));
    memset(t->filters, 0, n * EH_N_TAPS * 4 * sizeof(v4));
    eh_taps_begin_hop(t);
}

void eh_taps_begin_hop(eh_taps *t) {
    const size_t n = (size_t)t->n_groups;
    memset(t->step_sum, 0, n * EH_STEPS_PER_HOP * sizeof(v4));
    memset(t->peak, 0, n * sizeof(v4));
    memset(t->k_sum, 0, n * EH_N_TAPS * sizeof(v4));
}

static inline v4 scrubbed(v4 x) {
    const v4i sound = (v4i)v4_abs(x) <= (v4i)v4_set1(FAULT_LIN);  // as integers: NaN and Inf are larger
    return (v4)((v4i)x & sound);
}

typedef struct {
    v4 s1, s2, u1, u2, sum;
} k_state;

static inline k_state k_load(const v4 *filter, v4 sum) {
    return (k_state){filter[0], filter[1], filter[2], filter[3], sum};
}
static inline v4 k_store(v4 *filter, k_state s) {
    filter[0] = s.s1;
    filter[1] = s.s2;
    filter[2] = s.u1;
    filter[3] = s.u2;
    return s.sum;
}

// The shelf is a transposed direct form. The high-pass (1 - z^-1)^2 / (1 + a1 z^-1 + a2 z^-2) is fed back through two
// running sums, y = x - c1 sum y - c2 sum sum y with c1 = 2 + a1, c2 = 1 + a1 + a2: the direct form would lose its
// 38 Hz in float32, because there a1 and a2 are nearly -2 and 1.
static inline void k_step(k_state *s, v4 x, eh_kfilter k) {
    const v4 shelf = v4_fma(v4_set1(k.b0), x, s->s1);
    s->s1 = v4_fnma(v4_set1(k.a1), shelf, v4_fma(v4_set1(k.b1), x, s->s2));
    s->s2 = v4_fnma(v4_set1(k.a2), shelf, v4_set1(k.b2) * x);
    const v4 y = v4_fnma(v4_set1(k.c1), s->u1, v4_fnma(v4_set1(k.c2), s->u2, shelf));
    s->u2 += s->u1;
    s->u1 += y;
    s->sum = v4_fma(y, y, s->sum);
}

void eh_taps_process(eh_taps *t, const float *input, const float *strip, size_t stride, uint32_t index, int step,
                     size_t n_frames) {
    const uint32_t mask = t->ring_frames - 1;
    const eh_kfilter k = t->kfilter;
    for (int group = 0; group < t->n_groups; group++) {
        const float *in = input + 4 * group, *behind = strip + 4 * group;
        v4 *ring = t->ring + (size_t)group * t->ring_frames, *filters = t->filters + group * EH_N_TAPS * 4;
        v4 *step_sum = &t->step_sum[group * EH_STEPS_PER_HOP + step], *k_sum = t->k_sum + group * EH_N_TAPS;
        v4 sum = *step_sum, peak = t->peak[group];
        k_state a = k_load(filters, k_sum[EH_TAP_INPUT]), b = k_load(filters + 4, k_sum[EH_TAP_STRIP]);
        for (size_t n = 0; n < n_frames; n++) {
            const v4 x = scrubbed(v4_load(in + n * stride));
            ring[(index + n) & mask] = x;
            sum = v4_fma(x, x, sum);
            peak = v4_max(peak, v4_abs(x));
            k_step(&a, x, k);
            k_step(&b, scrubbed(v4_load(behind + n * stride)), k);
        }
        *step_sum = sum;
        t->peak[group] = peak;
        k_sum[EH_TAP_INPUT] = k_store(filters, a);
        k_sum[EH_TAP_STRIP] = k_store(filters + 4, b);
    }
}

static void times_window(const v4 *x, const float *window, int n_frames, v4 *out) {
    int n = 0;
    for (; n + 4 <= n_frames; n += 4)
        for (int i = 0; i < 4; i++) out[n + i] = x[n + i] * window[n + i];
    for (; n < n_frames; n++) out[n] = x[n] * window[n];
}

void eh_taps_windowed(const eh_taps *t, int group, uint32_t end, const float *window, int n_frames, v4 *out) {
    const v4 *ring = t->ring + (size_t)group * t->ring_frames;
    const uint32_t first = (end - (uint32_t)n_frames) & (t->ring_frames - 1);
    const int n_before_wrap = (int)(t->ring_frames - first) < n_frames ? (int)(t->ring_frames - first) : n_frames;
    times_window(ring + first, window, n_before_wrap, out);
    times_window(ring, window + n_before_wrap, n_frames - n_before_wrap, out + n_before_wrap);
}
