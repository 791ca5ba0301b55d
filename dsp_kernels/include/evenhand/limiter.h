// Look-ahead peak limiter; linked lanes (2k, 2k + 1) share one gain. The only kernel that delays the sound.
#pragma once

#include "types.h"

enum { EH_LIMITER_LOOKAHEAD_FRAMES = 48 };

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    float *memory;                        // layout in limiter.c
    float lowest_gain_lin[EH_MAX_LANES];  // since the last eh_limiter_read_gain_db
} eh_limiter;

size_t eh_limiter_size_bytes(int n_lanes);
eh_status eh_limiter_init(eh_limiter *l, float sample_rate_hz, int n_lanes, void *memory);
void eh_limiter_link(eh_limiter *l, int even_lane, int is_linked);
void eh_limiter_set(eh_limiter *l, int lane, const eh_limiter_params *p) EH_RT;
void eh_limiter_reset(eh_limiter *l) EH_RT;
void eh_limiter_reset_lane(eh_limiter *l, int lane) EH_RT;
// out is in, EH_LIMITER_LOOKAHEAD_FRAMES later, nowhere above the ceiling; bit for bit while nothing exceeds it. What
// is no number leaves as zero. A true peak holds at any rate for what lies below 24 kHz.
void eh_limiter_process(eh_limiter *l, const float *in, float *out, size_t n_frames) EH_RT;
float eh_limiter_read_gain_db(eh_limiter *l, int lane) EH_RT;  // lowest since the last read
