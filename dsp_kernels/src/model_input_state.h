// What the model's inputs are made of, shared by the files of this kernel.
#pragma once

#include "evenhand/model_input.h"
#include "spectral_math.h"

enum { EH_N_MEANS = 10, EH_N_POOLED = EH_N_MEL / 2, EH_N_MIX_SPANS = 3 };

// The columns that have means, in their order.
enum {
    EH_MEAN_FLUX,
    EH_MEAN_FLATNESS,
    EH_MEAN_BRIGHTNESS,
    EH_MEAN_ROUGHNESS,
    EH_MEAN_ONSETS,
    EH_MEAN_IS_ACTIVE,
    EH_MEAN_LEVEL_NOW,
    EH_MEAN_CREST,
    EH_MEAN_CENTROID,
    EH_MEAN_BLEED_COHERENCE,
};

typedef struct {
    int is_stereo, is_active, is_heard;              // the latter two in this tick
    uint32_t n_active, n_ticks;                      // ticks of activity; ticks since the first of them
    float mel[EH_N_MEL], bark[EH_N_BARK], loudness;  // powers, slow means
    float mel_now[EH_N_MEL], loudness_now;           // powers in this tick
    float onset;
    float fast[EH_N_MEANS], slow[EH_N_MEANS];
} eh_shown_channel;

// All channels together.
typedef struct {
    uint32_t n_ticks, n_active;                   // since the first sound; with an active channel
    float slow_power, long_power, slow_loudness;  // while a channel is active: 8 s, 30 s, 8 s
    float fast_power;
    float mel_db[EH_N_MEL];                                              // a tick ago
    float mel[EH_N_MIX_SPANS][EH_N_POOLED], chroma[EH_N_MIX_SPANS][12];  // means of 1, 8 and 30 s
    float active[2], flux[2], centroid[2];                               // 1 s, 8 s
} eh_shown_mix;

typedef struct {
    float fast_share, slow_share, long_share, onset_keep;  // of a tick in a mean of 1, 8, 30 s; of an onset in the next
    eh_shown_mix mix;
    eh_shown_channel channel[];
} eh_shown;

// Channels are summed as whole numbers: then their order does not matter. -120 dB to +40 dB, 64 of them.
static inline int64_t eh_whole(float power) { return (int64_t)(power * 0x1p40f); }
static inline float eh_unwhole(int64_t sum) { return (float)sum * 0x1p-40f; }

static inline float eh_clip(float x) { return x > -1.0f ? (x < 1.0f ? x : 1.0f) : -1.0f; }
static inline float eh_log2f(float x) { return v4_log2(v4_set1(x > 1e-30f ? x : 1e-30f))[0]; }
static inline float eh_dbf(float power) { return eh_log2f(power) * (float)(EH_DB_PER_LOG2 / 2); }
static inline float eh_share(float least, uint32_t n) { return n * least > 1.0f ? least : 1.0f / (float)n; }
static inline void eh_towards(float *mean, float x, float share) { *mean += share * (x - *mean); }

// model_input_channel.c: takes a record in, and writes the columns that no other channel matters to.
void eh_shown_listen(eh_shown *s, eh_shown_channel *c, const eh_channel_features *r, float trim_db, float tick_s,
                     float *out);
// model_input_mix.c
void eh_shown_sum(eh_shown *s, int n_channels, const eh_mix_features *features, float *out);
