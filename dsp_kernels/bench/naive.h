// The yardstick's parts: state of one channel each, one frame at a time.
#pragma once

#include "bench.h"

enum {
    NAIVE_RATE_HZ = 48000,
    NAIVE_MAX_FRAMES = 1024,
    NAIVE_EQ_BANDS = 4,
    NAIVE_MAX_BUSES = 16,
    NAIVE_RING_FRAMES = 8192,
};

typedef struct {
    float b0, b1, b2, a1, a2, z1, z2;
} naive_biquad;

typedef struct {
    naive_biquad high_pass, band[NAIVE_EQ_BANDS], side_chain;
    float gate_envelope, gate_gain, compressor_envelope, power;
    float bus_gain[NAIVE_MAX_BUSES];
} naive_strip;

typedef struct {
    float peak, mean_square;
} naive_meter;

typedef struct {
    float sample[NAIVE_RING_FRAMES];
    int at;
} naive_ring;

extern naive_strip naive_strips[EH_MAX_LANES];

static inline float naive_larger(float a, float b) { return a > b ? a : b; }

// Everything at rest, every strip busy.
void naive_prepare(void);
naive_biquad naive_high_pass(float freq_hz, float q);
naive_biquad naive_k_shelf(void);
naive_biquad naive_k_high_pass(void);
float naive_filter(naive_biquad *f, float x);
float naive_coeff(float tau_ms);  // of a one-pole at the sample rate
float naive_delay(naive_ring *r, float x, int delay_frames);

// One channel: x and y are n_lanes apart.
void naive_filter_channel(naive_biquad *f, const float *x, float *y, int n_lanes, int n_frames);
void naive_eq_channel(naive_strip *s, const float *x, float *y, int n_lanes, int n_frames);
void naive_gate_channel(naive_strip *s, const float *x, float *y, int n_lanes, int n_frames);
void naive_compressor_channel(naive_strip *s, const float *x, float *y, int n_lanes, int n_frames);
void naive_meter_channel(naive_meter *m, const float *x, int n_lanes, int n_frames);
// All channels.
void naive_automix(const float *x, float *y, int n_lanes, int n_frames);
void naive_reverb(float x, float *left, float *right);
