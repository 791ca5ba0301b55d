// Feature extractor: what rules and models know about each channel, a vector each hop. Not for the audio thread: it
// runs in a thread of lower priority (or in step, on files), fed with blocks of the two taps.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    int n_channels, hop_frames, fft_frames;
    uint64_t n_hops;  // completed since reset
    void *memory;     // layout in features.c
} eh_features;

size_t eh_features_size_bytes(float sample_rate_hz, int n_channels);
eh_status eh_features_init(eh_features *f, float sample_rate_hz, int n_channels, void *memory);
void eh_features_reset(eh_features *f);
// Gain with which each critical band of the channel reaches the mix (fader, EQ, everything): what masking is judged by.
// EH_N_BARK gains, 1 at first; reset keeps them, and what is no gain from 0 to 1000 counts as 0.
void eh_features_set_mix_gain(eh_features *f, int channel, const float *bark_gain_lin);
// Both taps are (n_frames, n_lanes) with one lane a channel: input behind the trim, strip before gain sharing.
// NaN, Inf and what is above +60 dBFS read as silence. Returns how many hops it completed; latest holds the last of
// them. Any n_frames.
int eh_features_process(eh_features *f, const float *input, const float *strip, int n_lanes, size_t n_frames);
const eh_channel_features *eh_features_latest(const eh_features *f);  // n_channels records
// Coherence, averaged over about 2 s of sound, and delay of b against a in ms, negative when b is earlier. Both are 0
// until there was half a second of sound in both; the delay stays 0 while no lag stands out, as for tones.
void eh_features_pair(const eh_features *f, int a, int b, float *coherence, float *delay_ms);
