// The whole mixer as one would first write it, for firmware/bench: what firmware/bench/chain.c has the engine do, in
// the same order, from the card's integers to the card's integers.
//
// Where first attempts differ in speed, this one takes the faster: a send that is off is not mixed, an effect that is
// off is not run, the limiter holds its lowest gain for the look-ahead instead of searching a window, and no fmaxf, for
// that is a call into libm. It lacks what only the engine has: ramps, links, automatic settings and gating of loudness.
#include <math.h>
#include <string.h>

#include "naive.h"

enum {
    MAIN_L,
    MAIN_R,
    RECORD_L,
    RECORD_R,
    AUX,
    MONITOR_L = AUX + 6,
    MONITOR_R,
    N_OUTPUTS,
    SEND = N_OUTPUTS,
    N_BUSES,
    LOOKAHEAD_FRAMES = 48,
    N_PHASES = 4,
    N_TAPS = 12,
    TAP_FRAMES = 8192,
    N_ALIGN = 2048,
};

// One pair or one single output.
typedef struct {
    int first, n_outputs, is_true_peak, held_at, hold_left;
    float held[LOOKAHEAD_FRAMES][2], gain;
} limiter;

typedef struct {
    float history[N_TAPS];
} interpolator;

// What nobody reads here. Other files could, so that no compiler leaves it out.
struct {
    int32_t card[NAIVE_MAX_FRAMES * N_OUTPUTS];
    float tap_input[TAP_FRAMES * EH_MAX_LANES], tap_strip[TAP_FRAMES * EH_MAX_LANES];
    int n_bad[EH_MAX_LANES], n_clipped[EH_MAX_LANES], n_healed;
    naive_meter input[EH_MAX_LANES], output[EH_MAX_LANES], bus[N_OUTPUTS];
    float loudness_power[2], true_peak;
} naive_shown;

static int lanes, frames;
static int32_t card_in[NAIVE_MAX_FRAMES * EH_MAX_LANES];
static float x[NAIVE_MAX_FRAMES * EH_MAX_LANES], buses[NAIVE_MAX_FRAMES * N_BUSES], wet[NAIVE_MAX_FRAMES * 2];
static float trim_lin[EH_MAX_LANES], bus_lin[N_OUTPUTS], panic_lin;
static float align_ring[EH_MAX_LANES][N_ALIGN];
static int align_at, align_frames[EH_MAX_LANES], tap_at;
static limiter limiters[9];
static int n_limiters;
static interpolator limiter_interpolators[N_OUTPUTS], meter_interpolators[2];
static float taps[N_PHASES][N_TAPS];
static naive_biquad k_filters[2][2];

static void add_limiter(int first, int n_outputs, int is_true_peak) {
    limiters[n_limiters++] =
        (limiter){.first = first, .n_outputs = n_outputs, .is_true_peak = is_true_peak, .gain = 1.0f};
}

// A sinc under a Hann window, at four places between two samples.
static void design_interpolator(void) {
    for (int phase = 0; phase < N_PHASES; phase++)
        for (int i = 0; i < N_TAPS; i++) {
            const double t = i - 5 - (double)phase / N_PHASES, w = cos(M_PI * t / 12.0);
            taps[phase][i] = (float)(t == 0.0 ? 1.0 : sin(M_PI * t) / (M_PI * t) * w * w);
        }
}

static void prepare_chain(int n_lanes, int n_frames) {
    lanes = n_lanes;
    frames = n_frames;
    naive_prepare();
    design_interpolator();
    memset(naive_shown.input, 0, sizeof naive_shown.input);
    memset(naive_shown.output, 0, sizeof naive_shown.output);
    memset(naive_shown.bus, 0, sizeof naive_shown.bus);
    n_limiters = 0;
    add_limiter(MAIN_L, 2, 0);
    add_limiter(RECORD_L, 2, 1);
    for (int aux = 0; aux < 6; aux++) add_limiter(AUX + aux, 1, 0);
    add_limiter(MONITOR_L, 2, 0);
    for (int side = 0; side < 2; side++) {
        k_filters[side][0] = naive_k_shelf();
        k_filters[side][1] = naive_k_high_pass();
    }
    panic_lin = 1.0f;
    for (int bus = 0; bus < N_OUTPUTS; bus++) bus_lin[bus] = 1.0f;
    for (int c = 0; c < n_lanes; c++) {
        trim_lin[c] = 1.0f;
        float *gain = naive_strips[c].bus_gain;
        memset(gain, 0, sizeof naive_strips[c].bus_gain);
        gain[MAIN_L] = gain[MAIN_R] = gain[RECORD_L] = gain[RECORD_R] = 0.178f;
        gain[SEND] = 0.045f;
    }
    uint32_t state = 1;
    for (int i = 0; i < n_frames * n_lanes; i++) {
        state = state * 1664525u + 1013904223u;
        card_in[i] = (int32_t)state / 4;
    }
}

static void from_card(void) {
    for (int i = 0; i < frames * lanes; i++) x[i] = (float)card_in[i] / 2147483648.0f;
}

// What is no number becomes zero; what is too loud to be a sound is held at +18 dBFS.
static void guard_input(void) {
    for (int n = 0; n < frames; n++)
        for (int c = 0; c < lanes; c++) {
            float v = x[n * lanes + c];
            if (!isfinite(v)) {
                v = 0.0f;
                naive_shown.n_bad[c]++;
            } else if (fabsf(v) >= 1.0f) {
                naive_shown.n_clipped[c]++;
            }
            x[n * lanes + c] = v > 8.0f ? 8.0f : v < -8.0f ? -8.0f : v;
        }
}

static void align_channels(void) {
    for (int c = 0; c < lanes; c++)
        for (int n = 0; n < frames; n++) {
            const int at = (align_at + n) & (N_ALIGN - 1);
            align_ring[c][at] = x[n * lanes + c] * trim_lin[c];
            x[n * lanes + c] = align_ring[c][(at - align_frames[c]) & (N_ALIGN - 1)];
        }
    align_at = (align_at + frames) & (N_ALIGN - 1);
}

// For the analysis.
static void tap(float *ring) {
    for (int n = 0; n < frames; n++)
        memcpy(ring + (size_t)((tap_at + n) & (TAP_FRAMES - 1)) * (size_t)lanes, x + n * lanes,
               (size_t)lanes * sizeof(float));
}

static void guard(float *y, int n_lanes) {
    for (int n = 0; n < frames; n++)
        for (int c = 0; c < n_lanes; c++)
            if (!isfinite(y[n * n_lanes + c])) {
                y[n * n_lanes + c] = 0.0f;
                naive_shown.n_healed++;
            }
}

static void meter(naive_meter *meters, const float *y, int n_lanes) {
    for (int c = 0; c < n_lanes; c++) naive_meter_channel(&meters[c], y + c, n_lanes, frames);
}

static void process_strips(void) {
    guard_input();
    align_channels();
    meter(naive_shown.input, x, lanes);
    tap(naive_shown.tap_input);
    for (int c = 0; c < lanes; c++) {
        naive_strip *s = &naive_strips[c];
        naive_filter_channel(&s->high_pass, x + c, x + c, lanes, frames);
        naive_gate_channel(s, x + c, x + c, lanes, frames);
        naive_eq_channel(s, x + c, x + c, lanes, frames);
        naive_compressor_channel(s, x + c, x + c, lanes, frames);
    }
    guard(x, lanes);
    tap(naive_shown.tap_strip);
    tap_at = (tap_at + frames) & (TAP_FRAMES - 1);
    naive_automix(x, x, lanes, frames);
    meter(naive_shown.output, x, lanes);
}

static void mix(void) {
    memset(buses, 0, sizeof(float) * N_BUSES * (size_t)frames);
    for (int c = 0; c < lanes; c++)
        for (int bus = 0; bus < N_BUSES; bus++) {
            const float gain = naive_strips[c].bus_gain[bus];
            if (gain == 0.0f) continue;
            for (int n = 0; n < frames; n++) buses[n * N_BUSES + bus] += gain * x[n * lanes + c];
        }
}

static void process_effects(void) {
    for (int n = 0; n < frames; n++) naive_reverb(buses[n * N_BUSES + SEND], &wet[2 * n], &wet[2 * n + 1]);
}

static void collect_outputs(float *out) {
    for (int n = 0; n < frames; n++) {
        const float *bus = buses + n * N_BUSES;
        float *y = out + n * N_OUTPUTS;
        for (int i = 0; i < N_OUTPUTS; i++) y[i] = bus[i];
        for (int i = MAIN_L; i <= RECORD_R; i++) y[i] += wet[2 * n + i % 2];
        for (int i = 0; i < N_OUTPUTS; i++) y[i] *= bus_lin[i];
        for (int side = 0; side < 2; side++) y[MONITOR_L + side] += y[MAIN_L + side];
    }
}

// The largest magnitude at four times the rate.
static float peak_of(interpolator *p, float v) {
    memmove(p->history, p->history + 1, sizeof p->history - sizeof p->history[0]);
    p->history[N_TAPS - 1] = v;
    float peak = 0.0f;
    for (int phase = 0; phase < N_PHASES; phase++) {
        float sum = 0.0f;
        for (int i = 0; i < N_TAPS; i++) sum += taps[phase][i] * p->history[i];
        peak = naive_larger(peak, fabsf(sum));
    }
    return peak;
}

static void limit(limiter *l, float *out) {
    const float release = naive_coeff(80.0f), ceiling = 0.891f;
    for (int n = 0; n < frames; n++) {
        float *y = out + n * N_OUTPUTS + l->first, peak = 0.0f;
        for (int i = 0; i < l->n_outputs; i++) {
            const float level = l->is_true_peak ? peak_of(&limiter_interpolators[l->first + i], y[i]) : fabsf(y[i]);
            peak = naive_larger(peak, level);
        }
        const float needed = peak > ceiling ? ceiling / peak : 1.0f;
        if (needed < 1.0f) l->hold_left = LOOKAHEAD_FRAMES + 1;
        if (needed < l->gain)
            l->gain = needed;
        else if (l->hold_left > 0)
            l->hold_left--;
        else
            l->gain = 1.0f - release * (1.0f - l->gain);
        for (int i = 0; i < l->n_outputs; i++) {
            const float late = l->held[l->held_at][i];
            l->held[l->held_at][i] = y[i];
            y[i] = late * l->gain * panic_lin;
        }
        l->held_at = (l->held_at + 1) % LOOKAHEAD_FRAMES;
    }
}

static void measure_loudness(const float *out) {
    for (int n = 0; n < frames; n++)
        for (int side = 0; side < 2; side++) {
            const float v = out[n * N_OUTPUTS + RECORD_L + side];
            const float k = naive_filter(&k_filters[side][1], naive_filter(&k_filters[side][0], v));
            naive_shown.loudness_power[side] += k * k;
            naive_shown.true_peak = naive_larger(naive_shown.true_peak, peak_of(&meter_interpolators[side], v));
        }
}

static void to_card(const float *out) {
    for (int i = 0; i < frames * N_OUTPUTS; i++) {
        const float v = out[i] > 1.0f ? 1.0f : out[i] < -1.0f ? -1.0f : out[i];
        const double scaled = rint((double)v * 2147483648.0);
        naive_shown.card[i] = (int32_t)(scaled > 2147483647.0 ? 2147483647.0 : scaled);
    }
}

static void run_chain(const float *in, float *out) {
    (void)in;
    from_card();
    process_strips();
    mix();
    process_effects();
    collect_outputs(out);
    for (int i = 0; i < n_limiters; i++) limit(&limiters[i], out);
    guard(out, N_OUTPUTS);
    meter(naive_shown.bus, out, N_OUTPUTS);
    measure_loudness(out);
    to_card(out);
}

const eh_benchmark eh_bench_naive_chain[] = {
    {"naive_chain", prepare_chain, run_chain},
    {NULL, NULL, NULL},
};
