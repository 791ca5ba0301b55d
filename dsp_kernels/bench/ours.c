// Our kernels, each with the settings of a busy strip.
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { RATE_HZ = 48000, MAX_FRAMES = 1024 };

static int lanes, frames;
static eh_gain gain;
static eh_mix mix;
static eh_align align;
static eh_eq hpf, eq;
static eh_gate gate;
static eh_compressor compressor;
static eh_saturation saturation;
static eh_automix automix;
static eh_ducker ducker;
static eh_meters meters;
static eh_kweight kweight;
static eh_reverb reverb;
static eh_delay delay_fx;
static eh_limiter limiter;
static eh_loudness loudness;
static eh_features features;
static eh_resampler resampler;
static int32_t card[MAX_FRAMES * EH_MAX_LANES];
static float scratch[MAX_FRAMES * EH_MAX_BUSES];
static uint32_t n_bad[EH_MAX_LANES], n_clipped[EH_MAX_LANES];

// Benchmarks are few and prepared once a size: what they hold is never freed.
static void *memory(size_t size_bytes) {
    void *p = aligned_alloc(64, (size_bytes + 63) / 64 * 64);
    if (!p) abort();
    return memset(p, 0, (size_bytes + 63) / 64 * 64);
}

static eh_params defaults(void) {
    eh_params p;
    eh_params_set_defaults(&p);
    return p;
}

static void remember(int n_lanes, int n_frames) {
    lanes = n_lanes;
    frames = n_frames;
}

static void prepare_convert(int n_lanes, int n_frames) { remember(n_lanes, n_frames); }
static void run_to_s32(const float *in, float *out) {
    (void)out;
    eh_convert_to_s32(in, card, (size_t)(frames * lanes));
}
static void run_from_s32(const float *in, float *out) {
    (void)in;
    eh_convert_from_s32(card, out, (size_t)(frames * lanes));
}
static void run_scrub(const float *in, float *out) { eh_scrub(in, out, (size_t)frames, lanes, 8.0f, n_bad, n_clipped); }

static void prepare_gain(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_gain_init(&gain, RATE_HZ, n_lanes);
    for (int lane = 0; lane < n_lanes; lane++) eh_gain_set(&gain, lane, 0.7f, 0.0f);
    eh_gain_reset(&gain);
}
static void run_gain(const float *in, float *out) { eh_gain_process(&gain, in, out, (size_t)frames); }

static void prepare_align(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_align_init(&align, RATE_HZ, n_lanes, memory(eh_align_size_bytes(RATE_HZ, n_lanes)));
    for (int lane = 0; lane < n_lanes; lane++) eh_align_set(&align, lane, 0.1f * (float)lane, 0.0f);
    eh_align_reset(&align);
}
static void run_align(const float *in, float *out) { eh_align_process(&align, in, out, (size_t)frames); }

static void prepare_eq(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_eq_init(&hpf, RATE_HZ, n_lanes, 1, memory(eh_eq_size_bytes(n_lanes, 1)));
    eh_eq_init(&eq, RATE_HZ, n_lanes, 4, memory(eh_eq_size_bytes(n_lanes, 4)));
    for (int lane = 0; lane < n_lanes; lane++) {
        eh_eq_set(&hpf, lane, 0, &(eh_section_design){EH_SECTION_HIGH_PASS, 80.0f, 0.0f, 0.707f}, 0.0f);
        for (int band = 0; band < 4; band++) {
            const eh_section_design design = {EH_SECTION_BELL, 120.0f * (float)(1 << (2 * band)), 3.0f, 1.0f};
            eh_eq_set(&eq, lane, band, &design, 0.0f);
        }
    }
    eh_eq_reset(&hpf);
    eh_eq_reset(&eq);
}
static void run_eq(const float *in, float *out) {
    eh_eq_process(&hpf, in, out, (size_t)frames);
    eh_eq_process(&eq, out, out, (size_t)frames);
}

static void prepare_gate(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_gate_init(&gate, RATE_HZ, n_lanes);
    eh_gate_params p = defaults().channel[0].gate;
    p.is_on = 1.0f;
    p.threshold_dbfs = -18.0f;
    for (int lane = 0; lane < n_lanes; lane++) eh_gate_set(&gate, lane, &p);
    eh_gate_reset(&gate);
}
static void run_gate(const float *in, float *out) { eh_gate_process(&gate, in, out, (size_t)frames); }

static void prepare_compressor(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_compressor_init(&compressor, RATE_HZ, n_lanes, memory(eh_compressor_size_bytes(n_lanes)));
    eh_compressor_params p = defaults().channel[0].compressor;
    p.is_on = 1.0f;
    for (int lane = 0; lane < n_lanes; lane++) eh_compressor_set(&compressor, lane, &p);
    eh_compressor_reset(&compressor);
}
static void run_compressor(const float *in, float *out) { eh_compressor_process(&compressor, in, out, (size_t)frames); }

static void prepare_saturation(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_saturation_init(&saturation, RATE_HZ, n_lanes, memory(eh_saturation_size_bytes(n_lanes)));
    eh_saturation_params p = defaults().channel[0].saturation;
    p.is_on = 1.0f;
    for (int lane = 0; lane < n_lanes; lane++) eh_saturation_set(&saturation, lane, &p);
    eh_saturation_reset(&saturation);
}
static void run_saturation(const float *in, float *out) { eh_saturation_process(&saturation, in, out, (size_t)frames); }

static void prepare_automix(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_automix_init(&automix, RATE_HZ, n_lanes, memory(eh_automix_size_bytes(n_lanes)));
    eh_automix_params p = defaults().channel[0].automix;
    for (int lane = 0; lane < n_lanes; lane++) {
        const int channel = lane % EH_N_CHANNEL;
        eh_automix_map_lane(&automix, lane, channel);
        p.group = (float)(1 + channel / 4 % EH_N_GROUP);
        eh_automix_set_channel(&automix, channel, &p, 1.0f);
    }
    eh_automix_reset(&automix);
}
static void run_automix(const float *in, float *out) { eh_automix_process(&automix, in, out, (size_t)frames); }

static void prepare_ducker(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_ducker_init(&ducker, RATE_HZ, n_lanes);
    const eh_params p = defaults();
    eh_ducker_set(&ducker, &p.system.ducker);
    for (int lane = 0; lane < n_lanes; lane++) eh_ducker_set_depth(&ducker, lane, 9.0f, 0.0f);
    eh_ducker_reset(&ducker);
}
static void run_ducker(const float *in, float *out) { eh_ducker_process(&ducker, in, in, out, (size_t)frames); }

static void prepare_meters(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_meters_init(&meters, RATE_HZ, n_lanes);
}
static void run_meters(const float *in, float *out) {
    (void)out;
    eh_meters_process(&meters, in, (size_t)frames);
}

static void prepare_mix(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_mix_init(&mix, RATE_HZ, n_lanes, 8);
    float gain_lin[EH_MAX_BUSES] = {0.7f, 0.7f, 0.5f, 0.5f, 0.3f, 0.3f};
    for (int lane = 0; lane < n_lanes; lane++) eh_mix_set(&mix, lane, gain_lin, 0.0f);
    eh_mix_reset(&mix);
}
static void run_mix(const float *in, float *out) {
    (void)out;
    memset(scratch, 0, sizeof(float) * 8 * (size_t)frames);
    eh_mix_process(&mix, in, scratch, (size_t)frames);
}

static void prepare_kweight(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_kweight_init(&kweight, RATE_HZ, n_lanes);
}
static void run_kweight(const float *in, float *out) {
    (void)out;
    eh_kweight_process(&kweight, in, (size_t)frames);
}

static void prepare_reverb(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_reverb_init(&reverb, RATE_HZ, memory(eh_reverb_size_bytes(RATE_HZ)));
    const eh_params p = defaults();
    eh_reverb_set(&reverb, &p.reverb.reverb);
    eh_reverb_reset(&reverb);
}
static void run_reverb(const float *in, float *out) { eh_reverb_process(&reverb, in, out, (size_t)frames); }

static void prepare_delay(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_delay_init(&delay_fx, RATE_HZ, memory(eh_delay_size_bytes(RATE_HZ)));
    const eh_params p = defaults();
    eh_delay_set(&delay_fx, &p.delay.delay);
    eh_delay_reset(&delay_fx);
}
static void run_delay(const float *in, float *out) { eh_delay_process(&delay_fx, in, out, (size_t)frames); }

static void prepare_limiter_with(int n_lanes, int n_frames, float is_true_peak) {
    remember(n_lanes, n_frames);
    eh_limiter_init(&limiter, RATE_HZ, n_lanes, memory(eh_limiter_size_bytes(n_lanes)));
    eh_limiter_params p = defaults().main.limiter;
    p.ceiling_dbfs = -10.0f;
    p.is_true_peak = is_true_peak;
    for (int lane = 0; lane < n_lanes; lane++) {
        eh_limiter_set(&limiter, lane, &p);
        if (lane % 2 == 0) eh_limiter_link(&limiter, lane, 1);
    }
    eh_limiter_reset(&limiter);
}
static void prepare_limiter(int n_lanes, int n_frames) { prepare_limiter_with(n_lanes, n_frames, 0.0f); }
static void prepare_true_peak_limiter(int n_lanes, int n_frames) { prepare_limiter_with(n_lanes, n_frames, 1.0f); }
static void run_limiter(const float *in, float *out) { eh_limiter_process(&limiter, in, out, (size_t)frames); }

static void prepare_loudness(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_loudness_init(&loudness, RATE_HZ, memory(eh_loudness_size_bytes(RATE_HZ)));
}
static void run_loudness(const float *in, float *out) {
    (void)out;
    eh_loudness_process(&loudness, in, lanes, 0, (size_t)frames);
}

static void prepare_features(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_features_init(&features, RATE_HZ, n_lanes, memory(eh_features_size_bytes(RATE_HZ, n_lanes)));
}
static void run_features(const float *in, float *out) {
    (void)out;
    eh_features_process(&features, in, in, lanes, (size_t)frames);
}

static void prepare_resampler(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_resampler_init(&resampler, n_lanes, 0.9998, memory(eh_resampler_size_bytes(n_lanes)));  // -200 ppm
}
static void run_resampler(const float *in, float *out) {
    eh_resampler_push(&resampler, in, eh_resampler_needed_frames(&resampler, (size_t)frames));
    eh_resampler_pull(&resampler, out, (size_t)frames);
}

const eh_benchmark eh_bench_ours[] = {
    {"convert_to_s32", prepare_convert, run_to_s32},
    {"convert_from_s32", prepare_convert, run_from_s32},
    {"scrub", prepare_convert, run_scrub},
    {"gain", prepare_gain, run_gain},
    {"align", prepare_align, run_align},
    {"eq", prepare_eq, run_eq},
    {"gate", prepare_gate, run_gate},
    {"compressor", prepare_compressor, run_compressor},
    {"saturation", prepare_saturation, run_saturation},
    {"automix", prepare_automix, run_automix},
    {"ducker", prepare_ducker, run_ducker},
    {"meters", prepare_meters, run_meters},
    {"mix", prepare_mix, run_mix},
    {"kweight", prepare_kweight, run_kweight},
    {"reverb", prepare_reverb, run_reverb},
    {"delay", prepare_delay, run_delay},
    {"limiter", prepare_limiter, run_limiter},
    {"true_peak_limiter", prepare_true_peak_limiter, run_limiter},
    {"loudness", prepare_loudness, run_loudness},
    {"features", prepare_features, run_features},
    {"resampler", prepare_resampler, run_resampler},
    {NULL, NULL, NULL},
};

// Readings, for digest.c.

static size_t tell_card(void *to) {
    const size_t size_bytes = sizeof card[0] * (size_t)(frames * lanes);
    memcpy(to, card, size_bytes);
    return size_bytes;
}
static size_t tell_scrub(void *to) {
    memcpy(to, n_bad, sizeof n_bad);
    memcpy((char *)to + sizeof n_bad, n_clipped, sizeof n_clipped);
    return sizeof n_bad + sizeof n_clipped;
}
static size_t tell_meters(void *to) {
    float *reading = to;
    for (int lane = 0; lane < lanes; lane++) eh_meters_read(&meters, lane, &reading[2 * lane], &reading[2 * lane + 1]);
    return sizeof(float) * 2 * (size_t)lanes;
}
static size_t tell_mix(void *to) {
    memcpy(to, scratch, sizeof(float) * 8 * (size_t)frames);
    return sizeof(float) * 8 * (size_t)frames;
}
static size_t tell_kweight(void *to) {
    eh_kweight_read(&kweight, to);
    return sizeof(float) * (size_t)lanes;
}
static size_t tell_loudness(void *to) {
    const eh_loudness_reading reading = eh_loudness_read(&loudness);
    memcpy(to, &reading, sizeof reading);
    return sizeof reading;
}
static size_t tell_features(void *to) {
    memcpy(to, eh_features_latest(&features), sizeof(eh_channel_features) * (size_t)lanes);
    return sizeof(eh_channel_features) * (size_t)lanes;
}

const eh_bench_teller eh_bench_tellers[] = {
    {"convert_to_s32", tell_card}, {"scrub", tell_scrub},       {"meters", tell_meters},     {"mix", tell_mix},
    {"kweight", tell_kweight},     {"loudness", tell_loudness}, {"features", tell_features}, {NULL, NULL},
};
