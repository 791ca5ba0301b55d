// Input delay of each lane in whole frames, up to 20 ms, changed by a crossfade. A lane without delay keeps its bits.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    int n_lanes, max_delay_frames, ring_frames;
    float *ring;  // (ring_frames, n_lanes), caller's memory
    int32_t write_index;
    int32_t delay_frames[EH_MAX_LANES], target_frames[EH_MAX_LANES];
    int32_t fade_left[EH_MAX_LANES], fade_frames[EH_MAX_LANES];
    int32_t queued_frames[EH_MAX_LANES], queued_fade_frames[EH_MAX_LANES];  // -1: nothing waits
} eh_align;

size_t eh_align_size_bytes(float sample_rate_hz, int n_lanes);  // of memory, 64-byte aligned
eh_status eh_align_init(eh_align *a, float sample_rate_hz, int n_lanes, void *memory);
// During a crossfade a set waits for its end; the last one counts.
void eh_align_set(eh_align *a, int lane, float delay_ms, float ramp_ms) EH_RT;
void eh_align_reset(eh_align *a) EH_RT;  // forgets sound, jumps to the delay set last
void eh_align_reset_lane(eh_align *a, int lane) EH_RT;
void eh_align_process(eh_align *a, const float *in, float *out, size_t n_frames) EH_RT;
