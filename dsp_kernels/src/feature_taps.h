// First stage of the feature extractor: scrubs both taps, keeps the last sound, and sums what each step and hop needs.
#pragma once

#include "arena.h"
#include "simd.h"

enum {
    EH_STEPS_PER_HOP = 10,  // a step is about 1 ms
    EH_TAP_INPUT = 0,
    EH_TAP_STRIP = 1,
    EH_N_TAPS = 2,
};

// Coefficients of K-weighting (ITU-R BS.1770-4), fit for float32.
typedef struct {
    float b0, b1, b2, a1, a2;  // shelf
    float c1, c2;              // high-pass
} eh_kfilter;

typedef struct {
    int n_groups;
    uint32_t ring_frames;  // a power of two
    eh_kfilter kfilter;
    v4 *ring;      // (n_groups, ring_frames): scrubbed input
    v4 *filters;   // (n_groups, EH_N_TAPS, 4)
    v4 *step_sum;  // (n_groups, EH_STEPS_PER_HOP): squares of the input
    v4 *peak;      // (n_groups): of the input in this hop
    v4 *k_sum;     // (n_groups, EH_N_TAPS): K-weighted squares of this hop
} eh_taps;

void eh_taps_init(eh_taps *t, float sample_rate_hz, int n_groups, int ring_frames, eh_arena *arena);
void eh_taps_reset(eh_taps *t);
void eh_taps_begin_hop(eh_taps *t);
// n_frames that lie in one step; index is the count of frames before them.
void eh_taps_process(eh_taps *t, const float *input, const float *strip, size_t stride, uint32_t index, int step,
                     size_t n_frames);
// Copies the n_frames that end with frame count `end`, oldest first, each times its entry of window.
void eh_taps_windowed(const eh_taps *t, int group, uint32_t end, const float *window, int n_frames, v4 *out);
