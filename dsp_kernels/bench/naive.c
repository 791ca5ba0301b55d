// The yardstick: the same work as one would first write it. One channel after the other, one sample after the other,
// textbook formulas, libm for every logarithm. Compiled with the flags of the kernels.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { RATE_HZ = 48000, MAX_FRAMES = 1024, N_BANDS = 5, N_MIX_BUSES = 8, N_FDN = 8, FDN_FRAMES = 8192, LOOKAHEAD = 48 };

typedef struct {
    float b0, b1, b2, a1, a2, z1, z2;
} biquad;

typedef struct {
    biquad band[N_BANDS], k[2];
    float gate_envelope, gate_gain, compressor_envelope;
    float power, peak, mean_square, bus_gain[N_MIX_BUSES];
} strip;

static int lanes, frames;
static strip strips[EH_MAX_LANES];
static float mixes[MAX_FRAMES][N_MIX_BUSES];
static float fdn[N_FDN][FDN_FRAMES], fdn_low[N_FDN];
static int fdn_at;
static float held[LOOKAHEAD][2], limiter_gain = 1.0f;
static int held_at;
static float loudness_power[2];

// Audio EQ Cookbook, R. Bristow-Johnson.
static biquad bell(float freq_hz, float gain_db, float q) {
    const float a = powf(10.0f, gain_db / 40.0f), w = 2.0f * (float)M_PI * freq_hz / RATE_HZ;
    const float alpha = sinf(w) / (2.0f * q), a0 = 1.0f + alpha / a;
    return (biquad){
        (1 + alpha * a) / a0, -2 * cosf(w) / a0, (1 - alpha * a) / a0, -2 * cosf(w) / a0, (1 - alpha / a) / a0, 0, 0};
}

static biquad high_pass(float freq_hz, float q) {
    const float w = 2.0f * (float)M_PI * freq_hz / RATE_HZ, alpha = sinf(w) / (2.0f * q), a0 = 1.0f + alpha;
    const float b = (1 + cosf(w)) / 2;
    return (biquad){b / a0, -2 * b / a0, b / a0, -2 * cosf(w) / a0, (1 - alpha) / a0, 0, 0};
}

static float tick(biquad *f, float x) {
    const float y = f->b0 * x + f->z1;
    f->z1 = f->b1 * x - f->a1 * y + f->z2;
    f->z2 = f->b2 * x - f->a2 * y;
    return y;
}

static float coeff(float tau_ms) { return expf(-1000.0f / (tau_ms * RATE_HZ)); }

static void prepare(int n_lanes, int n_frames) {
    lanes = n_lanes;
    frames = n_frames;
    memset(strips, 0, sizeof strips);
    memset(fdn, 0, sizeof fdn);
    for (int c = 0; c < n_lanes; c++) {
        strips[c].band[0] = high_pass(80.0f, 0.707f);
        for (int b = 1; b < N_BANDS; b++) strips[c].band[b] = bell(30.0f * (float)(1 << (2 * b)), 3.0f, 1.0f);
        strips[c].k[0] = (biquad){1.5351249f, -2.6916962f, 1.1983928f, -1.6906593f, 0.7324808f, 0, 0};
        strips[c].k[1] = (biquad){1.0f, -2.0f, 1.0f, -1.9900475f, 0.9900723f, 0, 0};
        strips[c].gate_gain = 1.0f;
        for (int bus = 0; bus < N_MIX_BUSES; bus++) strips[c].bus_gain[bus] = 0.1f + 0.05f * (float)bus;
    }
}

static void eq_channel(strip *s, const float *in, float *out) {
    for (int n = 0; n < frames; n++) {
        float x = in[n * lanes];
        for (int b = 0; b < N_BANDS; b++) x = tick(&s->band[b], x);
        out[n * lanes] = x;
    }
}

static void run_eq(const float *in, float *out) {
    for (int c = 0; c < lanes; c++) eq_channel(&strips[c], in + c, out + c);
}

static void gate_channel(strip *s, const float *in, float *out) {
    const float fall = coeff(150.0f), rise = coeff(1.0f);
    for (int n = 0; n < frames; n++) {
        const float x = in[n * lanes], level = fabsf(x);
        s->gate_envelope = level > s->gate_envelope ? level : fall * s->gate_envelope + (1 - fall) * level;
        const float below_db = -18.0f - 20.0f * log10f(s->gate_envelope + 1e-10f);
        const float target = below_db > 0 ? powf(10.0f, fmaxf(-below_db, -12.0f) / 20.0f) : 1.0f;
        const float a = target > s->gate_gain ? rise : fall;
        s->gate_gain = a * s->gate_gain + (1 - a) * target;
        out[n * lanes] = x * s->gate_gain;
    }
}

static void run_gate(const float *in, float *out) {
    for (int c = 0; c < lanes; c++) gate_channel(&strips[c], in + c, out + c);
}

static void compressor_channel(strip *s, const float *in, float *out) {
    const float attack = coeff(10.0f), release = coeff(120.0f);
    for (int n = 0; n < frames; n++) {
        const float x = in[n * lanes], over_db = 20.0f * log10f(fabsf(x) + 1e-10f) + 18.0f;
        const float knee_db = 6.0f, slope = 1.0f - 1.0f / 3.0f;
        float reduction_db = 0.0f;
        if (over_db > knee_db / 2)
            reduction_db = slope * over_db;
        else if (over_db > -knee_db / 2)
            reduction_db = slope * (over_db + knee_db / 2) * (over_db + knee_db / 2) / (2 * knee_db);
        const float a = reduction_db > s->compressor_envelope ? attack : release;
        s->compressor_envelope = a * s->compressor_envelope + (1 - a) * reduction_db;
        out[n * lanes] = x * powf(10.0f, -s->compressor_envelope / 20.0f);
    }
}

static void run_compressor(const float *in, float *out) {
    for (int c = 0; c < lanes; c++) compressor_channel(&strips[c], in + c, out + c);
}

static void run_automix(const float *in, float *out) {
    const float a = coeff(10.0f), eps = 1e-8f;
    for (int n = 0; n < frames; n++) {
        float sum = 0.0f;
        for (int c = 0; c < lanes; c++) {
            const float x = in[n * lanes + c];
            strips[c].power = a * strips[c].power + (1 - a) * x * x;
            sum += strips[c].power + eps;
        }
        for (int c = 0; c < lanes; c++) out[n * lanes + c] = in[n * lanes + c] * sqrtf((strips[c].power + eps) / sum);
    }
}

static void run_meters(const float *in, float *out) {
    const float a = coeff(300.0f);
    (void)out;
    for (int c = 0; c < lanes; c++)
        for (int n = 0; n < frames; n++) {
            const float x = in[n * lanes + c];
            strips[c].peak = fmaxf(strips[c].peak, fabsf(x));
            strips[c].mean_square = a * strips[c].mean_square + (1 - a) * x * x;
        }
}

static void mix_buses(const float *in, int n_buses) {
    for (int n = 0; n < frames; n++)
        for (int bus = 0; bus < n_buses; bus++) {
            float sum = 0.0f;
            for (int c = 0; c < lanes; c++) sum += in[n * lanes + c] * strips[c].bus_gain[bus];
            mixes[n][bus] = sum;
        }
}

static void run_mix(const float *in, float *out) {
    (void)out;
    mix_buses(in, N_MIX_BUSES);
}

static void run_reverb(const float *in, float *out) {
    static const int length[N_FDN] = {1447, 1777, 2053, 2383, 2687, 3041, 3347, 3659};
    for (int n = 0; n < frames; n++) {
        float line[N_FDN], sum = 0.0f;
        for (int i = 0; i < N_FDN; i++) {
            line[i] = fdn[i][(fdn_at - length[i]) & (FDN_FRAMES - 1)];
            sum += line[i];
        }
        for (int i = 0; i < N_FDN; i++) {
            fdn_low[i] = 0.6f * (line[i] - 0.25f * sum) + 0.4f * fdn_low[i];
            fdn[i][fdn_at] = in[n * lanes] + 0.85f * fdn_low[i];
        }
        fdn_at = (fdn_at + 1) & (FDN_FRAMES - 1);
        out[2 * n] = line[0] + line[2] + line[4] + line[6];
        out[2 * n + 1] = line[1] + line[3] + line[5] + line[7];
    }
}

// Two buses of mixes, look-ahead by a plain scan.
static void run_limiter(const float *in, float *out) {
    (void)in;
    const float release = coeff(80.0f), ceiling = 0.3f;
    for (int n = 0; n < frames; n++) {
        float peak = 0.0f;
        held[held_at][0] = mixes[n][0];
        held[held_at][1] = mixes[n][1];
        held_at = (held_at + 1) % LOOKAHEAD;
        for (int i = 0; i < LOOKAHEAD; i++) peak = fmaxf(peak, fmaxf(fabsf(held[i][0]), fabsf(held[i][1])));
        const float target = peak > ceiling ? ceiling / peak : 1.0f;
        limiter_gain = target < limiter_gain ? target : release * limiter_gain + (1 - release) * target;
        out[2 * n] = held[held_at][0] * limiter_gain;
        out[2 * n + 1] = held[held_at][1] * limiter_gain;
    }
}

// The work of firmware/bench/chain.c, from the card's integers to the card's integers, but less of it: one limiter
// instead of those of every output and no true peak, four outputs instead of twelve, all of them in one group.
enum { MAIN_L, MAIN_R, RECORD_L, RECORD_R, SEND, N_CHAIN_BUSES };

static int32_t card_in[MAX_FRAMES * EH_MAX_LANES], card_out[MAX_FRAMES * (RECORD_R + 1)];

static void prepare_chain(int n_lanes, int n_frames) {
    prepare(n_lanes, n_frames);
    uint32_t state = 1;
    for (int i = 0; i < n_frames * n_lanes; i++) {
        state = state * 1664525u + 1013904223u;
        card_in[i] = (int32_t)state / 4;
    }
}

static void from_card(float *x) {
    for (int i = 0; i < frames * lanes; i++) x[i] = (float)card_in[i] / 2147483648.0f;
}

static void to_card(void) {
    for (int n = 0; n < frames; n++)
        for (int bus = MAIN_L; bus <= RECORD_R; bus++) {
            const float x = fminf(fmaxf(mixes[n][bus], -1.0f), 1.0f);
            card_out[n * (RECORD_R + 1) + bus] = (int32_t)fmin(rint((double)x * 2147483648.0), 2147483647.0);
        }
}

static void run_chain(const float *in, float *out) {
    static float x[MAX_FRAMES * EH_MAX_LANES], send[MAX_FRAMES * EH_MAX_LANES], stereo[MAX_FRAMES * 2];
    (void)in;
    (void)out;
    from_card(x);
    run_meters(x, x);
    run_gate(x, x);
    run_eq(x, x);
    run_compressor(x, x);
    run_automix(x, x);
    run_meters(x, x);
    mix_buses(x, N_CHAIN_BUSES);
    for (int n = 0; n < frames; n++) send[n * lanes] = mixes[n][SEND];
    run_reverb(send, stereo);
    for (int n = 0; n < frames; n++)
        for (int bus = MAIN_L; bus <= RECORD_R; bus++) mixes[n][bus] += stereo[2 * n + bus % 2];
    run_limiter(x, stereo);
    for (int n = 0; n < frames; n++)
        for (int side = 0; side < 2; side++) {
            const float k = tick(&strips[side].k[1], tick(&strips[side].k[0], stereo[2 * n + side]));
            loudness_power[side] += k * k;
            mixes[n][MAIN_L + side] = stereo[2 * n + side];
        }
    to_card();
}

const eh_benchmark eh_bench_naive[] = {
    {"naive_eq", prepare, run_eq},
    {"naive_gate", prepare, run_gate},
    {"naive_compressor", prepare, run_compressor},
    {"naive_automix", prepare, run_automix},
    {"naive_meters", prepare, run_meters},
    {"naive_mix", prepare, run_mix},
    {"naive_reverb", prepare, run_reverb},
    {"naive_chain", prepare_chain, run_chain},
    {NULL, NULL, NULL},
};
