// What one power spectrum of four channels tells: mel, Bark and cepstral bands, and the shape of the spectrum.
#pragma once

#include "arena.h"
#include "evenhand/types.h"
#include "simd.h"

// A weighted run of bins for each band.
typedef struct {
    int16_t first[EH_N_MEL], n[EH_N_MEL];
    float *weight[EH_N_MEL];
} eh_bands;

typedef struct {
    int n_bins;
    float bin_hz;
    eh_bands mel, bark;
    int bright_first;    // first bin wholly above 1.5 kHz
    float bright_share;  // share of the bin below it that lies above
    int flat_first, flat_end;
    float dct[EH_N_MFCC][EH_N_MEL];
} eh_spectral;

typedef struct {
    v4 log_mel_db[EH_N_MEL], mfcc[EH_N_MFCC], bark_power[EH_N_BARK];
    v4 centroid_hz, rolloff_hz, flux, flatness, brightness;
} eh_spectral_frame;

void eh_spectral_init(eh_spectral *s, float sample_rate_hz, int fft_frames, eh_arena *arena);
// power: fft_frames / 2 + 1 bins whose sum is the mean square. frame->log_mel_db holds the hop before when called.
void eh_spectral_analyse(const eh_spectral *s, const v4 *power, eh_spectral_frame *frame);
