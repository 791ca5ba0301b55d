// K-weighting: the filter at any rate, and a float bank of it for single channels.
#include "kweight.h"

#include "bank.h"
#include "evenhand/loudness.h"
#include "simd.h"
#include "units.h"

// What the published 48 kHz coefficients give when the bilinear transform is undone (reference/loudness.py does it):
// corner, quality, gain of the shelf at the top and in the middle of its slope.
#define SHELF_HZ 1681.9744509555323
#define SHELF_Q 0.7071752369554194
#define SHELF_TOP_LIN 1.5848647011308554
#define SHELF_MIDDLE_LIN 1.2587209302325613
#define RLB_HZ 38.13547087611304
#define RLB_Q 0.5003270373250421

void eh_kweight_design_at(eh_kweight_design *d, double rate_hz) {
    const double g = eh_tan(EH_PI * SHELF_HZ / rate_hz), k = 1.0 / SHELF_Q, vh = SHELF_TOP_LIN, vb = SHELF_MIDDLE_LIN;
    const double h = eh_tan(EH_PI * RLB_HZ / rate_hz), j = 1.0 / RLB_Q;
    const double a0 = 1.0 + k * g + g * g, c0 = 1.0 + j * h + h * h;
    *d = (eh_kweight_design){
        .shelf_g = g,
        .shelf_k = k,
        .shelf_vh = vh,
        .shelf_vb = vb,
        .rlb_g = h,
        .rlb_k = j,
        .shelf_b = {(vh + vb * k * g + g * g) / a0, 2.0 * (g * g - vh) / a0, (vh - vb * k * g + g * g) / a0},
        .shelf_a = {2.0 * (g * g - 1.0) / a0, (1.0 - k * g + g * g) / a0},
        .rlb_a = {2.0 * (h * h - 1.0) / c0, (1.0 - j * h + h * h) / c0},
    };
    if (rate_hz == 48000.0) {  // the published figures themselves
        const double b[3] = {1.53512485958697, -2.69169618940638, 1.19839281085285};
        const double a[2] = {-1.69065929318241, 0.73248077421585}, rlb_a[2] = {-1.99004745483398, 0.99007225036621};
        memcpy(d->shelf_b, b, sizeof b);
        memcpy(d->shelf_a, a, sizeof a);
        memcpy(d->rlb_a, rlb_a, sizeof rlb_a);
    }
}

// The bank. State-variable filters (trapezoidal integrators): direct forms in float lose 60 dB at 38 Hz.
//   v3 = x - s2,  v1 = a1 s1 + a2 v3,  v2 = s2 + a2 s1 + a3 v3,  s1 = 2 v1 - s1,  s2 = 2 v2 - s2
// with a1 = 1 / (1 + g (g + k)), a2 = g a1, a3 = g a2; v1 is the band-pass, v2 the low-pass.
enum { SHELF_A1, SHELF_A2, SHELF_A3, SHELF_BAND, SHELF_LOW, RLB_A1, RLB_A2, RLB_A3, RLB_K, TOP };

// Partial sums of this many frames keep the rounding of long means down.
enum { PARTIAL_FRAMES = 64 };

eh_status eh_kweight_init(eh_kweight *k, float sample_rate_hz, int n_lanes) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    eh_kweight_design d;
    eh_kweight_design_at(&d, sample_rate_hz);
    *k = (eh_kweight){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes};
    const double shelf_a1 = 1.0 / (1.0 + d.shelf_g * (d.shelf_g + d.shelf_k));
    const double rlb_a1 = 1.0 / (1.0 + d.rlb_g * (d.rlb_g + d.rlb_k));
    // Shelf: vh x + (vb - vh) k v1 + (1 - vh) v2, here over vh. High-pass: x - k v1 - v2. Both gains go into TOP.
    k->coeff[SHELF_A1] = (float)shelf_a1;
    k->coeff[SHELF_A2] = (float)(shelf_a1 * d.shelf_g);
    k->coeff[SHELF_A3] = (float)(shelf_a1 * d.shelf_g * d.shelf_g);
    k->coeff[SHELF_BAND] = (float)((d.shelf_vb / d.shelf_vh - 1.0) * d.shelf_k);
    k->coeff[SHELF_LOW] = (float)(1.0 / d.shelf_vh - 1.0);
    k->coeff[RLB_A1] = (float)rlb_a1;
    k->coeff[RLB_A2] = (float)(rlb_a1 * d.rlb_g);
    k->coeff[RLB_A3] = (float)(rlb_a1 * d.rlb_g * d.rlb_g);
    k->coeff[RLB_K] = (float)d.rlb_k;
    const double top = d.shelf_vh / rlb_a1;
    k->coeff[TOP] = (float)(top * top);
    return EH_OK;
}

void eh_kweight_reset(eh_kweight *k) {
    memset(k->state, 0, sizeof k->state);
    memset(k->partial, 0, sizeof k->partial);
    memset(k->sum, 0, sizeof k->sum);
    k->n_summed = 0;
}

void eh_kweight_reset_lane(eh_kweight *k, int lane) {
    for (int i = 0; i < 4; i++) k->state[i][lane] = 0.0f;
    k->partial[lane] = k->sum[lane] = 0.0f;
}

typedef struct {
    v4 shelf_a1, shelf_a2, shelf_a3, shelf_band, shelf_low, rlb_a1, rlb_a2, rlb_a3, rlb_k;
} coefficients;

typedef struct {
    v4 s1, s2, r1, r2, power;
} filter;

static inline void step(filter *f, const coefficients *c, v4 x) {
    const v4 two = v4_set1(2.0f);
    const v4 x3 = x - f->s2;
    const v4 x1 = v4_fma(c->shelf_a2, x3, c->shelf_a1 * f->s1);
    const v4 x2 = v4_fma(c->shelf_a3, x3, v4_fma(c->shelf_a2, f->s1, f->s2));
    f->s1 = v4_fma(two, x1, -f->s1);
    f->s2 = v4_fma(two, x2, -f->s2);
    const v4 w = v4_fma(c->shelf_low, x2, v4_fma(c->shelf_band, x1, x));
    const v4 w3 = w - f->r2;
    const v4 w1 = v4_fma(c->rlb_a2, w3, c->rlb_a1 * f->r1);
    const v4 w2 = v4_fma(c->rlb_a3, w3, v4_fma(c->rlb_a2, f->r1, f->r2));
    f->r1 = v4_fma(two, w1, -f->r1);
    f->r2 = v4_fma(two, w2, -f->r2);
    const v4 y = v4_fnma(c->rlb_k, w1, w) - w2;
    f->power = v4_fma(y, y, f->power);
}

static filter filter_load(const eh_kweight *k, size_t lane) {
    return (filter){v4_load(k->state[0] + lane), v4_load(k->state[1] + lane), v4_load(k->state[2] + lane),
                    v4_load(k->state[3] + lane), v4_load(k->partial + lane)};
}

static void filter_store(const filter *f, eh_kweight *k, size_t lane) {
    v4_store(k->state[0] + lane, f->s1);
    v4_store(k->state[1] + lane, f->s2);
    v4_store(k->state[2] + lane, f->r1);
    v4_store(k->state[3] + lane, f->r2);
    v4_store(k->partial + lane, f->power);
}

static void process_partial(eh_kweight *k, const float *in, size_t n_frames) {
    const float *q = k->coeff;
    const coefficients c = {v4_set1(q[SHELF_A1]),   v4_set1(q[SHELF_A2]),  v4_set1(q[SHELF_A3]),
                            v4_set1(q[SHELF_BAND]), v4_set1(q[SHELF_LOW]), v4_set1(q[RLB_A1]),
                            v4_set1(q[RLB_A2]),     v4_set1(q[RLB_A3]),    v4_set1(q[RLB_K])};
    const size_t stride = (size_t)k->n_lanes;
    size_t lane = 0;
    for (; lane + 8 <= stride; lane += 8) {  // two vectors at once hide each other's latency
        filter f = filter_load(k, lane), g = filter_load(k, lane + 4);
        for (size_t n = 0; n < n_frames; n++) {
            step(&f, &c, v4_load(in + n * stride + lane));
            step(&g, &c, v4_load(in + n * stride + lane + 4));
        }
        filter_store(&f, k, lane);
        filter_store(&g, k, lane + 4);
    }
    if (lane < stride) {
        filter f = filter_load(k, lane);
        for (size_t n = 0; n < n_frames; n++) step(&f, &c, v4_load(in + n * stride + lane));
        filter_store(&f, k, lane);
    }
}

void eh_kweight_process(eh_kweight *k, const float *in, size_t n_frames) {
    while (n_frames > 0) {
        const size_t room = PARTIAL_FRAMES - k->n_summed % PARTIAL_FRAMES;
        const size_t n = n_frames < room ? n_frames : room;
        process_partial(k, in, n);
        k->n_summed += (uint32_t)n;
        in += n * (size_t)k->n_lanes;
        n_frames -= n;
        if (n == room)
            for (int lane = 0; lane < k->n_lanes; lane++) {
                k->sum[lane] += k->partial[lane];
                k->partial[lane] = 0.0f;
            }
    }
}

void eh_kweight_read(eh_kweight *k, float *mean_square) {
    const float scale = k->n_summed > 0 ? k->coeff[TOP] / (float)k->n_summed : 0.0f;
    for (int lane = 0; lane < k->n_lanes; lane++) {
        mean_square[lane] = (k->sum[lane] + k->partial[lane]) * scale;
        k->sum[lane] = k->partial[lane] = 0.0f;
    }
    k->n_summed = 0;
}
