// The yardstick: the same work as one would first write it. One channel after the other, one sample after the other,
// textbook formulas, libm for every logarithm. Compiled with the flags of the kernels.
#include "naive.h"

#include <math.h>
#include <string.h>

enum { N_BENCH_BUSES = 8, N_LINES = 8, N_DIFFUSERS = 4 };

naive_strip naive_strips[EH_MAX_LANES];

// Other files could read these, so that no compiler leaves out what nobody reads here.
naive_meter naive_meters[EH_MAX_LANES];
float naive_mixes[NAIVE_MAX_FRAMES][N_BENCH_BUSES];

static int lanes, frames;
static struct {
    naive_ring predelay, diffuser[N_DIFFUSERS], line[N_LINES];
    naive_biquad low_cut;
    float low[N_LINES];
} reverb;

// Audio EQ Cookbook, R. Bristow-Johnson.
static naive_biquad bell(float freq_hz, float gain_db, float q) {
    const float a = powf(10.0f, gain_db / 40.0f), w = 2.0f * (float)M_PI * freq_hz / NAIVE_RATE_HZ;
    const float alpha = sinf(w) / (2.0f * q), a0 = 1.0f + alpha / a;
    return (naive_biquad){
        (1 + alpha * a) / a0, -2 * cosf(w) / a0, (1 - alpha * a) / a0, -2 * cosf(w) / a0, (1 - alpha / a) / a0, 0, 0};
}

naive_biquad naive_high_pass(float freq_hz, float q) {
    const float w = 2.0f * (float)M_PI * freq_hz / NAIVE_RATE_HZ, alpha = sinf(w) / (2.0f * q), a0 = 1.0f + alpha;
    const float b = (1 + cosf(w)) / 2;
    return (naive_biquad){b / a0, -2 * b / a0, b / a0, -2 * cosf(w) / a0, (1 - alpha) / a0, 0, 0};
}

// ITU-R BS.1770.
naive_biquad naive_k_shelf(void) {
    return (naive_biquad){1.5351249f, -2.6916962f, 1.1983928f, -1.6906593f, 0.7324808f, 0, 0};
}
naive_biquad naive_k_high_pass(void) { return (naive_biquad){1.0f, -2.0f, 1.0f, -1.9900475f, 0.9900723f, 0, 0}; }

float naive_filter(naive_biquad *f, float x) {
    const float y = f->b0 * x + f->z1;
    f->z1 = f->b1 * x - f->a1 * y + f->z2;
    f->z2 = f->b2 * x - f->a2 * y;
    return y;
}

float naive_coeff(float tau_ms) { return expf(-1000.0f / (tau_ms * NAIVE_RATE_HZ)); }

void naive_prepare(void) {
    memset(naive_strips, 0, sizeof naive_strips);
    memset(naive_meters, 0, sizeof naive_meters);
    memset(&reverb, 0, sizeof reverb);
    reverb.low_cut = naive_high_pass(150.0f, 0.707f);
    for (int c = 0; c < EH_MAX_LANES; c++) {
        naive_strip *s = &naive_strips[c];
        s->high_pass = naive_high_pass(80.0f, 0.707f);
        s->side_chain = naive_high_pass(150.0f, 0.707f);
        for (int b = 0; b < NAIVE_EQ_BANDS; b++) s->band[b] = bell(120.0f * (float)(1 << (2 * b)), 3.0f, 1.0f);
        s->gate_gain = 1.0f;
        for (int bus = 0; bus < N_BENCH_BUSES; bus++) s->bus_gain[bus] = 0.1f + 0.05f * (float)bus;
    }
}

static void prepare(int n_lanes, int n_frames) {
    lanes = n_lanes;
    frames = n_frames;
    naive_prepare();
}

void naive_filter_channel(naive_biquad *f, const float *x, float *y, int n_lanes, int n_frames) {
    for (int n = 0; n < n_frames; n++) y[n * n_lanes] = naive_filter(f, x[n * n_lanes]);
}

void naive_eq_channel(naive_strip *s, const float *x, float *y, int n_lanes, int n_frames) {
    for (int n = 0; n < n_frames; n++) {
        float v = x[n * n_lanes];
        for (int b = 0; b < NAIVE_EQ_BANDS; b++) v = naive_filter(&s->band[b], v);
        y[n * n_lanes] = v;
    }
}

static void run_eq(const float *in, float *out) {
    for (int c = 0; c < lanes; c++) {
        naive_filter_channel(&naive_strips[c].high_pass, in + c, out + c, lanes, frames);
        naive_eq_channel(&naive_strips[c], out + c, out + c, lanes, frames);
    }
}

void naive_gate_channel(naive_strip *s, const float *x, float *y, int n_lanes, int n_frames) {
    const float fall = naive_coeff(150.0f), rise = naive_coeff(1.0f);
    for (int n = 0; n < n_frames; n++) {
        const float v = x[n * n_lanes], level = fabsf(v);
        s->gate_envelope = level > s->gate_envelope ? level : fall * s->gate_envelope + (1 - fall) * level;
        const float below_db = -18.0f - 20.0f * log10f(s->gate_envelope + 1e-10f);
        const float target = below_db > 0 ? powf(10.0f, naive_larger(-below_db, -12.0f) / 20.0f) : 1.0f;
        const float a = target > s->gate_gain ? rise : fall;
        s->gate_gain = a * s->gate_gain + (1 - a) * target;
        y[n * n_lanes] = v * s->gate_gain;
    }
}

static void run_gate(const float *in, float *out) {
    for (int c = 0; c < lanes; c++) naive_gate_channel(&naive_strips[c], in + c, out + c, lanes, frames);
}

void naive_compressor_channel(naive_strip *s, const float *x, float *y, int n_lanes, int n_frames) {
    const float attack = naive_coeff(10.0f), release = naive_coeff(120.0f);
    for (int n = 0; n < n_frames; n++) {
        const float v = x[n * n_lanes], over_db = 20.0f * log10f(fabsf(v) + 1e-10f) + 18.0f;
        const float knee_db = 6.0f, slope = 1.0f - 1.0f / 3.0f;
        float reduction_db = 0.0f;
        if (over_db > knee_db / 2)
            reduction_db = slope * over_db;
        else if (over_db > -knee_db / 2)
            reduction_db = slope * (over_db + knee_db / 2) * (over_db + knee_db / 2) / (2 * knee_db);
        const float a = reduction_db > s->compressor_envelope ? attack : release;
        s->compressor_envelope = a * s->compressor_envelope + (1 - a) * reduction_db;
        y[n * n_lanes] = v * powf(10.0f, -s->compressor_envelope / 20.0f);
    }
}

static void run_compressor(const float *in, float *out) {
    for (int c = 0; c < lanes; c++) naive_compressor_channel(&naive_strips[c], in + c, out + c, lanes, frames);
}

void naive_automix(const float *x, float *y, int n_lanes, int n_frames) {
    const float a = naive_coeff(10.0f), eps = 1e-8f;
    for (int n = 0; n < n_frames; n++, x += n_lanes, y += n_lanes) {
        float sum = 0.0f;
        for (int c = 0; c < n_lanes; c++) {
            naive_strip *s = &naive_strips[c];
            const float heard = naive_filter(&s->side_chain, x[c]);
            s->power = a * s->power + (1 - a) * heard * heard;
            sum += s->power + eps;
        }
        for (int c = 0; c < n_lanes; c++) y[c] = x[c] * sqrtf((naive_strips[c].power + eps) / sum);
    }
}

static void run_automix(const float *in, float *out) { naive_automix(in, out, lanes, frames); }

void naive_meter_channel(naive_meter *m, const float *x, int n_lanes, int n_frames) {
    const float a = naive_coeff(300.0f);
    for (int n = 0; n < n_frames; n++) {
        const float v = x[n * n_lanes];
        m->peak = naive_larger(m->peak, fabsf(v));
        m->mean_square = a * m->mean_square + (1 - a) * v * v;
    }
}

static void run_meters(const float *in, float *out) {
    (void)out;
    for (int c = 0; c < lanes; c++) naive_meter_channel(&naive_meters[c], in + c, lanes, frames);
}

static void run_mix(const float *in, float *out) {
    (void)out;
    for (int n = 0; n < frames; n++)
        for (int bus = 0; bus < N_BENCH_BUSES; bus++) {
            float sum = 0.0f;
            for (int c = 0; c < lanes; c++) sum += in[n * lanes + c] * naive_strips[c].bus_gain[bus];
            naive_mixes[n][bus] = sum;
        }
}

static float ring_read(const naive_ring *r, int delay_frames) {
    return r->sample[(r->at - delay_frames) & (NAIVE_RING_FRAMES - 1)];
}

static void ring_write(naive_ring *r, float x) {
    r->sample[r->at] = x;
    r->at = (r->at + 1) & (NAIVE_RING_FRAMES - 1);
}

float naive_delay(naive_ring *r, float x, int delay_frames) {
    r->sample[r->at] = x;
    const float y = ring_read(r, delay_frames);
    r->at = (r->at + 1) & (NAIVE_RING_FRAMES - 1);
    return y;
}

static float all_pass(naive_ring *r, float x, int delay_frames) {
    const float old = ring_read(r, delay_frames), w = x + 0.5f * old;
    ring_write(r, w);
    return old - 0.5f * w;
}

// Predelay, low cut, four all-passes; eight lines, mixed by a Householder matrix, each with a low-pass.
void naive_reverb(float x, float *left, float *right) {
    static const int diffuser_frames[N_DIFFUSERS] = {113, 191, 313, 463};
    static const int line_frames[N_LINES] = {1031, 1187, 1367, 1571, 1811, 2081, 2393, 2753};
    float line[N_LINES], sum = 0.0f;
    x = naive_filter(&reverb.low_cut, naive_delay(&reverb.predelay, x, 960));
    for (int i = 0; i < N_DIFFUSERS; i++) x = all_pass(&reverb.diffuser[i], x, diffuser_frames[i]);
    for (int i = 0; i < N_LINES; i++) {
        line[i] = ring_read(&reverb.line[i], line_frames[i]);
        sum += line[i];
    }
    for (int i = 0; i < N_LINES; i++) {
        reverb.low[i] = 0.6f * (line[i] - 0.25f * sum) + 0.4f * reverb.low[i];
        ring_write(&reverb.line[i], x + 0.85f * reverb.low[i]);
    }
    *left = 0.4f * x + line[0] + line[2] + line[4] + line[6];
    *right = -0.4f * x + line[1] + line[3] + line[5] + line[7];
}

static void run_reverb(const float *in, float *out) {
    for (int n = 0; n < frames; n++) naive_reverb(in[n * lanes], &out[2 * n], &out[2 * n + 1]);
}

const eh_benchmark eh_bench_naive[] = {
    {"naive_eq", prepare, run_eq},
    {"naive_gate", prepare, run_gate},
    {"naive_compressor", prepare, run_compressor},
    {"naive_automix", prepare, run_automix},
    {"naive_meters", prepare, run_meters},
    {"naive_mix", prepare, run_mix},
    {"naive_reverb", prepare, run_reverb},
    {NULL, NULL, NULL},
};
