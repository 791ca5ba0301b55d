// Lowers lanes while a key signal sounds.
//
// Every 16 frames: the key's mean power, smoothed over 10 ms, is held against threshold_dbfs (RMS); from then until
// hold_ms after it fell under it the lanes go down by their depth, in dB with the time constant attack_ms, and come
// back with release_ms. The gain is a line in between. A group of four lanes at unity passes its bits unchanged.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    int32_t phase;  // frames since the last computation, 0 to 15
    eh_ducker_params params;
    double threshold_power, detector_share, attack_share, release_share;  // shares of the distance, per computation
    int32_t hold_ticks, hold_left;
    float key_sum;                                                  // of squares since the last computation
    double key_power;                                               // smoothed
    double amount;                                                  // 0 open, 1 down by the full depth
    float depth_log2[EH_MAX_LANES], depth_step_log2[EH_MAX_LANES];  // at the end of the ramp, and per computation
    float depth_left[EH_MAX_LANES];                                 // computations to go
    float gain_lin[EH_MAX_LANES], step_lin[EH_MAX_LANES];           // of the line between computations
    float target_lin[EH_MAX_LANES];
    int32_t is_active[EH_MAX_LANES / EH_LANES_PER_VECTOR];
    int32_t is_any_active, is_any_depth_moving;
} eh_ducker;

eh_status eh_ducker_init(eh_ducker *d, float sample_rate_hz, int n_lanes);
void eh_ducker_set(eh_ducker *d, const eh_ducker_params *p) EH_RT;
void eh_ducker_set_depth(eh_ducker *d, int lane, float depth_db, float ramp_ms) EH_RT;  // 0: the lane passes
void eh_ducker_reset(eh_ducker *d) EH_RT;
// key is mono, (n_frames,), or NULL for silence.
void eh_ducker_process(eh_ducker *d, const float *key, const float *in, float *out, size_t n_frames) EH_RT;
float eh_ducker_gain_db(const eh_ducker *d, int lane) EH_RT;
