// Gain of each lane, ramped linearly; and the mixing matrix, whose every gain ramps likewise.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    float gain_lin[EH_MAX_LANES], step_lin[EH_MAX_LANES], target_lin[EH_MAX_LANES];
    int32_t ramp_left[EH_MAX_LANES / EH_LANES_PER_VECTOR];  // frames, one count per vector
} eh_gain;

eh_status eh_gain_init(eh_gain *g, float sample_rate_hz, int n_lanes);        // all gains 1
void eh_gain_set(eh_gain *g, int lane, float gain_lin, float ramp_ms) EH_RT;  // negative inverts polarity
void eh_gain_reset(eh_gain *g) EH_RT;                                         // jumps to the targets
void eh_gain_process(eh_gain *g, const float *in, float *out, size_t n_frames) EH_RT;

// out[frame][bus] += sum over lanes of in[frame][lane] * gain[lane][bus]. n_buses is a multiple of 4, at most 16.
enum { EH_MAX_BUSES = 16 };

typedef struct {
    float sample_rate_hz;
    int n_lanes, n_buses;
    float target_lin[EH_MAX_LANES][EH_MAX_BUSES];
    float step_lin[EH_MAX_LANES][EH_MAX_BUSES];           // the gain is target - step * ramp_left
    int32_t ramp_left[EH_MAX_LANES];                      // frames
    uint32_t active[EH_MAX_LANES / EH_LANES_PER_VECTOR];  // bit v: a gain into bus vector v is not zero
} eh_mix;

eh_status eh_mix_init(eh_mix *m, float sample_rate_hz, int n_lanes, int n_buses);  // all gains 0
void eh_mix_set(eh_mix *m, int lane, const float *gain_lin, float ramp_ms) EH_RT;  // n_buses gains
void eh_mix_reset(eh_mix *m) EH_RT;
void eh_mix_process(eh_mix *m, const float *in, float *out, size_t n_frames) EH_RT;
int eh_mix_is_active(const eh_mix *m) EH_RT;                                             // 0: process would add nothing
float eh_mix_gain_lin(const eh_mix *m, int lane, int bus, size_t n_frames_ahead) EH_RT;  // what process will apply then

// Constant-power pan of a mono channel: gain_lin[0] left, [1] right; 0 dB at the centre is -3 dB into each side.
void eh_pan_mono(float position, float *gain_lin) EH_RT;
// Balance and width of a stereo channel: gain_lin[from][to], from and to 0 left, 1 right; the centre is unity.
void eh_pan_stereo(float position, float width, float (*gain_lin)[2]) EH_RT;
