// Eight-line feedback-delay-network reverb, mono in, stereo out, wet only.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;
    float *memory;  // layout in reverb.c
} eh_reverb;

size_t eh_reverb_size_bytes(float sample_rate_hz);
eh_status eh_reverb_init(eh_reverb *r, float sample_rate_hz, void *memory);
void eh_reverb_set(eh_reverb *r, const eh_reverb_params *p) EH_RT;  // level_db included
void eh_reverb_reset(eh_reverb *r) EH_RT;
// in (n_frames,), out (n_frames, 2), overwritten.
void eh_reverb_process(eh_reverb *r, const float *in, float *out, size_t n_frames) EH_RT;
