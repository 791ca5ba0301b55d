// Lowers lanes while a key signal sounds.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    int32_t phase;
    float threshold_power, attack_coeff, release_coeff, detector_coeff;
    float hold_ticks, hold_left;
    float key_power, accumulated_power;
    float amount, amount_step;                        // 0 open, 1 ducked by the full depth
    float depth_log2[EH_MAX_LANES], depth_target_log2[EH_MAX_LANES];
    float gain_lin[EH_MAX_LANES], step_lin[EH_MAX_LANES];
} eh_ducker;

eh_status eh_ducker_init(eh_ducker *d, float sample_rate_hz, int n_lanes);
void eh_ducker_set(eh_ducker *d, const eh_ducker_params *p) EH_RT;
void eh_ducker_set_depth(eh_ducker *d, int lane, float depth_db, float ramp_ms) EH_RT;  // 0: the lane passes
void eh_ducker_reset(eh_ducker *d) EH_RT;
// key is mono, (n_frames,).
void eh_ducker_process(eh_ducker *d, const float *key, const float *in, float *out, size_t n_frames) EH_RT;
float eh_ducker_gain_db(const eh_ducker *d, int lane) EH_RT;
