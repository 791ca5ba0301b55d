// Spectra of a long window (85 ms at 48 kHz) of the lower frequencies of all channels at the same moment, made a few
// channels a hop: what bleed and roughness are judged by.
#pragma once

#include "fft.h"
#include "feature_taps.h"

enum {
    EH_SLOW_FRAMES = 1024,       // window, at the decimated rate
    EH_SLOW_RING_FRAMES = 2048,  // holds the window of a whole cycle
    EH_SLOW_CYCLE_HOPS = 6,
    EH_SLOW_N_BINS = EH_SLOW_FRAMES / 2 + 1,
    EH_SLOW_LAST_BIN = 368,  // 0.36 of the decimated rate: above lies what the decimation aliases
};

typedef struct {
    int n_groups, factor, n_taps;
    float rate_hz, bin_hz;  // decimated
    eh_fft fft;
    v4 *taps;  // the first half of the low-pass, which is symmetric, in all lanes
    float *window;
    v4 *ring;  // (n_groups, EH_SLOW_RING_FRAMES)
    uint32_t n_decimated, window_end;
    int phase;  // hop within the cycle
} eh_slow;

// fft_frames decides the decimation.
void eh_slow_init(eh_slow *s, float sample_rate_hz, int fft_frames, int n_groups, eh_arena *arena);
void eh_slow_reset(eh_slow *s);
// Decimates the hop that ends with frame count `end`. The windows of all groups end where the cycle's first hop ends.
void eh_slow_decimate(eh_slow *s, const eh_taps *taps, uint32_t end, int hop_frames);
void eh_slow_end_hop(eh_slow *s);
// Share `phase` of n things to do in a cycle: [*first, *end).
void eh_slow_turn(const eh_slow *s, int n, int *first, int *end);
// Spectrum of a group, EH_SLOW_N_BINS pairs (re, im); z is scratch of EH_SLOW_FRAMES vectors.
void eh_slow_transform(const eh_slow *s, int group, v4 *z, v4 *spectrum);
