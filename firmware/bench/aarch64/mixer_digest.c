// What the whole mixer makes of the same sound and the same settings, one number a kind of result: two machines whose
// numbers are the same agree to the bit.
//
// mixer_digest N_CHANNELS N_FRAMES N_BLOCKS: settings change every few blocks, anywhere in their ranges. Sound is loud,
// quiet, silent, clipping, and now and then no number at all, as a damaged file may hold it.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum {
    BLOCKS_PER_SETTING = 24,
    BLOCKS_PER_KIND = 40,
    MAX_FRAMES = 256,
    N_SETTINGS = sizeof(eh_params) / sizeof(float)
};

typedef struct {
    const char *name;
    uint64_t sum;
} result;

enum { OUTPUTS, CHANNELS, METERS, FEATURES, MIX_FEATURES, LOUDNESS, STATS, N_RESULTS };

static result results[N_RESULTS] = {
    {"outputs", 0}, {"channels", 0}, {"meters", 0}, {"features", 0}, {"mix_features", 0}, {"loudness", 0}, {"stats", 0},
};

static uint32_t state = 1;

static float next_noise(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state / 2147483648.0f;
}

static void hear(int kind, const void *words, size_t size_bytes) {  // FNV-1a over whole words
    uint64_t sum = results[kind].sum;
    for (size_t at = 0; at + sizeof(uint32_t) <= size_bytes; at += sizeof(uint32_t)) {
        uint32_t word;
        memcpy(&word, (const char *)words + at, sizeof word);
        sum = (sum ^ word) * 0x100000001b3ULL;
    }
    results[kind].sum = sum;
}

// Half of the settings at their defaults, half anywhere between their bounds: these are what clamping leaves.
static void choose_settings(eh_params *chosen) {
    static eh_params low, high;
    float *at = (float *)chosen, *least = (float *)&low, *most = (float *)&high;
    eh_params_set_defaults(chosen);
    for (int i = 0; i < N_SETTINGS; i++) {
        least[i] = -1e9f;
        most[i] = 1e9f;
    }
    eh_params_clamp(&low);
    eh_params_clamp(&high);
    for (int i = 0; i < N_SETTINGS; i++) {
        const float where = 0.5f + 0.5f * next_noise();
        if (next_noise() > 0.0f) at[i] = least[i] + where * (most[i] - least[i]);
    }
    eh_params_clamp(chosen);
}

static float sample_of(int block, int frame) {
    const float noise = next_noise();
    switch (block / BLOCKS_PER_KIND % 5) {
        case 0:
            return 0.25f * noise;
        case 1:
            return frame % 97 == 0 ? 0.8f : 1e-3f * noise;
        case 2:
            return 0.0f;
        case 3:
            return 1.5f * noise;
        default:
            return noise > 0.9999f ? NAN : noise < -0.9999f ? INFINITY : 0.1f * noise;
    }
}

static eh_engine *made_engine(int n_channels, int *n_lanes) {
    eh_engine_config config = {.sample_rate_hz = 48000.0f, .n_channels = n_channels, .keeps_channels = 1};
    *n_lanes = n_channels;
    for (int ch = 0; ch < n_channels; ch += 7) {
        config.is_stereo[ch] = 1;
        ++*n_lanes;
    }
    config.n_capture_lanes = *n_lanes = (*n_lanes + 3) / 4 * 4;
    eh_engine *engine;
    void *arena = aligned_alloc(64, (eh_engine_size_bytes(&config) + 63) / 64 * 64);
    if (!arena || eh_engine_init(&engine, &config, arena) != EH_OK) abort();
    return engine;
}

static void hear_readings(eh_engine *engine, int n_channels) {
    eh_channel_meters channels[EH_N_CHANNEL];
    eh_bus_meters buses[EH_N_OUTPUTS];
    eh_mix_features mix;
    eh_engine_read_meters(engine, channels, buses);
    eh_engine_read_mix_features(engine, &mix);
    const eh_loudness_reading loudness = eh_engine_loudness(engine);
    hear(METERS, channels, sizeof channels[0] * (size_t)n_channels);
    hear(METERS, buses, sizeof buses);
    hear(FEATURES, eh_engine_features(engine), sizeof(eh_channel_features) * (size_t)n_channels);
    hear(MIX_FEATURES, &mix, sizeof mix);
    hear(LOUDNESS, &loudness, sizeof loudness);
}

int main(int argc, char **argv) {
    static float in[MAX_FRAMES * EH_MAX_CAPTURE_LANES], out[MAX_FRAMES * EH_N_OUTPUTS];
    static float channels[MAX_FRAMES * 2 * EH_N_CHANNEL];
    static eh_params settings;
    if (argc != 4) {
        fprintf(stderr, "usage: mixer_digest N_CHANNELS N_FRAMES N_BLOCKS\n");
        return 2;
    }
    const int n_channels = atoi(argv[1]), n_frames = atoi(argv[2]), n_blocks = atoi(argv[3]);
    int n_lanes;
    eh_engine *engine = made_engine(n_channels, &n_lanes);
    for (int block = 0; block < n_blocks; block++) {
        if (block % BLOCKS_PER_SETTING == 0) {
            choose_settings(&settings);
            eh_engine_publish(engine, &settings);
        }
        for (int i = 0; i < n_frames * n_lanes; i++) in[i] = sample_of(block, i / n_lanes);
        eh_engine_process_in_step(engine, in, out, channels, (size_t)n_frames);
        hear(OUTPUTS, out, sizeof out[0] * (size_t)(n_frames * EH_N_OUTPUTS));
        hear(CHANNELS, channels, sizeof channels[0] * (size_t)(n_frames * 2 * n_channels));
        hear_readings(engine, n_channels);
    }
    const eh_engine_stats stats = eh_engine_read_stats(engine);
    hear(STATS, &stats, sizeof stats);
    for (int i = 0; i < N_RESULTS; i++) printf("%s %016" PRIx64 "\n", results[i].name, results[i].sum);
    return 0;
}
