// Tempo-synchronised delay, mono in, stereo out, wet only; the time changes by a crossfade.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    float *memory;  // layout in delay.c
} eh_delay;

size_t eh_delay_size_bytes(float sample_rate_hz);
eh_status eh_delay_init(eh_delay *d, float sample_rate_hz, void *memory);
void eh_delay_set(eh_delay *d, const eh_delay_params *p) EH_RT;  // level_db included
void eh_delay_reset(eh_delay *d) EH_RT;
// in (n_frames,), out (n_frames, 2), overwritten.
void eh_delay_process(eh_delay *d, const float *in, float *out, size_t n_frames) EH_RT;
