// Kernels that no audio thread runs, behind the same face: blocks of sound stand for whatever they are given.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { RATE_HZ = 48000, MAX_CHANNELS = 32, TICK_MS = 20 };

static int lanes, frames, channels;
static eh_chroma chroma;
static eh_drift drift;
static eh_beat_tracker tracker;
static eh_model_input shown;
static eh_channel_features record[MAX_CHANNELS];
static eh_mix_features mix_record;
static float trim_db[MAX_CHANNELS];

static void remember(int n_lanes, int n_frames) {
    lanes = n_lanes;
    frames = n_frames;
}

static void prepare_chroma(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_chroma_init(&chroma, RATE_HZ);
}
static void run_chroma(const float *in, float *out) {
    eh_chroma_process(&chroma, in, lanes, (size_t)frames);
    eh_chroma_read(&chroma, out);
}

static void prepare_drift(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_drift_init(&drift, RATE_HZ);
}
static void run_drift(const float *in, float *out) {
    const double answer = eh_drift_process(&drift, 4.0 + 100.0 * (double)in[0], (size_t)frames);
    memcpy(out, &answer, sizeof answer);
}

static void prepare_beat_tracker(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    eh_beat_tracker_init(&tracker);
}
static void run_beat_tracker(const float *in, float *out) {
    const eh_beat beat = eh_beat_tracker_process(&tracker, fabsf(in[0]), fabsf(in[1]));
    memcpy(out, &beat, sizeof beat);
}

static void prepare_model_input(int n_lanes, int n_frames) {
    remember(n_lanes, n_frames);
    channels = n_lanes < MAX_CHANNELS ? n_lanes : MAX_CHANNELS;
    free(shown.memory);
    const size_t size_bytes = eh_model_input_size_bytes(channels);
    eh_model_input_init(&shown, channels, 1e-3f * TICK_MS, aligned_alloc(64, (size_bytes + 63) / 64 * 64));
}
static void run_model_input(const float *in, float *out) {
    // Every reading of a record is some decibels, hertz or ratio: what is out of range has to be borne as well.
    float *reading = (float *)record;
    const size_t n_in = (size_t)(frames * lanes);
    for (size_t i = 0; i < sizeof(eh_channel_features) / sizeof(float) * (size_t)channels; i++)
        reading[i] = 160.0f * in[i % n_in] - 40.0f;
    for (int ch = 0; ch < channels; ch++) {
        record[ch].is_active = in[ch] > -0.1f ? 1.0f : 0.0f;
        record[ch].bleed_source = (float)((ch + 1) % channels);
        record[ch].masked_by = (float)((ch + 2) % channels);
        trim_db[ch] = 40.0f * in[ch];
    }
    for (int note = 0; note < 12; note++) mix_record.chroma[note] = fabsf(in[note]);
    eh_model_input_process(&shown, record, &mix_record, trim_db, out, out + EH_N_MODEL_INPUT * channels);
}

const eh_benchmark eh_bench_offline[] = {
    {"chroma", prepare_chroma, run_chroma},
    {"drift", prepare_drift, run_drift},
    {"beat_tracker", prepare_beat_tracker, run_beat_tracker},
    {"model_input", prepare_model_input, run_model_input},
    {NULL, NULL, NULL},
};
