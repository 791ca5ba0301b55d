// Programme loudness after ITU-R BS.1770-4 and EBU Tech 3341/3342, true peak included, of up to 2 stereo programmes;
// and K-weighting as a bank for single channels.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    void *memory;  // layout in loudness.c
} eh_loudness;

// What a meter shows. Silence and too little sound read EH_SILENCE_DBFS; loudness_range_lu reads 0.
typedef struct {
    float momentary_lufs, short_term_lufs, integrated_lufs, loudness_range_lu;
    float sample_peak_dbfs, true_peak_dbtp;
} eh_loudness_reading;

size_t eh_loudness_size_bytes(float sample_rate_hz);
eh_status eh_loudness_init(eh_loudness *l, float sample_rate_hz, void *memory);
void eh_loudness_reset(eh_loudness *l) EH_RT;
// Reads lanes first_lane and first_lane + 1 of (n_frames, n_lanes). Any length of programme; memory does not grow.
void eh_loudness_process(eh_loudness *l, const float *in, int n_lanes, int first_lane, size_t n_frames) EH_RT;
eh_loudness_reading eh_loudness_read(const eh_loudness *l);

// Mean square of each K-weighted lane over the frames since the last read; 10 log10 of it - 0.691 is LUFS.
typedef struct {
    float sample_rate_hz;
    int n_lanes;
    float coeff[10];
    float state[4][EH_MAX_LANES];
    float partial[EH_MAX_LANES];  // of at most 64 frames
    float sum[EH_MAX_LANES];
    uint32_t n_summed;
} eh_kweight;

eh_status eh_kweight_init(eh_kweight *k, float sample_rate_hz, int n_lanes);
void eh_kweight_reset(eh_kweight *k) EH_RT;
void eh_kweight_reset_lane(eh_kweight *k, int lane) EH_RT;
void eh_kweight_process(eh_kweight *k, const float *in, size_t n_frames) EH_RT;
void eh_kweight_read(eh_kweight *k, float *mean_square) EH_RT;  // n_lanes values; begins a new sum
