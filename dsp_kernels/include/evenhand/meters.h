// Peak and RMS of each lane. RMS is that of the samples: a full-scale sine reads -3.01 dBFS.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    int32_t phase;                    // frames since the last tick; one each 16 frames
    float rms_coeff;                  // of a tick
    float peak_lin[EH_MAX_LANES];     // since the last read
    float accumulated[EH_MAX_LANES];  // sum of squares since the last tick
    float mean_square[EH_MAX_LANES];  // one-pole, 300 ms
} eh_meters;

eh_status eh_meters_init(eh_meters *m, float sample_rate_hz, int n_lanes);
void eh_meters_reset(eh_meters *m) EH_RT;
void eh_meters_reset_lane(eh_meters *m, int lane) EH_RT;
void eh_meters_process(eh_meters *m, const float *in, size_t n_frames) EH_RT;
// Level in dBFS, EH_SILENCE_DBFS at least; the peak hold begins anew.
void eh_meters_read(eh_meters *m, int lane, float *peak_dbfs, float *rms_dbfs) EH_RT;
