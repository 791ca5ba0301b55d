// Gain sharing between the open microphones of a group: speech (by power), music, gated; NOM, last hold, override.
#pragma once

#include "types.h"

enum { EH_AUTOMIX_FRAMES = 16 };  // frames per gain computation; gains ramp linearly in between

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    float *memory;                   // layout in automix.c
    float gain_lin[EH_N_CHANNEL];    // as last computed, for meters
} eh_automix;

size_t eh_automix_size_bytes(int n_lanes);
eh_status eh_automix_init(eh_automix *a, float sample_rate_hz, int n_lanes, void *memory);
// Before sound runs: which channel (0 to EH_N_CHANNEL - 1, or -1 for none) a lane belongs to.
void eh_automix_map_lane(eh_automix *a, int lane, int channel);
// fader_lin is fader, mute and DCA in one: the weight of a post-fader detector, and 0 takes no share.
void eh_automix_set_channel(eh_automix *a, int channel, const eh_automix_params *p, float fader_lin) EH_RT;
void eh_automix_set_group(eh_automix *a, int group, const eh_share_params *p) EH_RT;  // group 0 to EH_N_GROUP - 1
void eh_automix_reset(eh_automix *a) EH_RT;
void eh_automix_reset_channel(eh_automix *a, int channel) EH_RT;
// Multiplies each lane by its channel's gain; lanes of no group pass bit for bit.
void eh_automix_process(eh_automix *a, const float *in, float *out, size_t n_frames) EH_RT;
