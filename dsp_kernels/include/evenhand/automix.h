// Gain sharing between the open microphones of a group: speech (by power), music, gated; NOM, last hold, override.
//
// Each 16 frames, counted from reset, every channel's power in the speech band gives its gain; the gains ramp linearly
// over the next 16 frames. What `set` changes takes effect with the next computation. Nothing is delayed.
#pragma once

#include "types.h"

enum { EH_AUTOMIX_FRAMES = 16 };  // frames per gain computation; gains ramp linearly in between

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    float *memory;                     // layout in automix_state.h
    float gain_lin[EH_N_CHANNEL];      // as last computed, for meters; 1 for channels of no group
    float nom[EH_N_GROUP];             // open microphones as the gains count them: sum of gain^2 before NOM lowers it
    int32_t last_channel[EH_N_GROUP];  // that spoke last (music and gated mode), -1 for none yet
} eh_automix;

size_t eh_automix_size_bytes(int n_lanes);
eh_status eh_automix_init(eh_automix *a, float sample_rate_hz, int n_lanes, void *memory);
// Before sound runs: which channel (0 to EH_N_CHANNEL - 1, or -1 for none) a lane belongs to.
void eh_automix_map_lane(eh_automix *a, int lane, int channel);
// fader_lin is fader, mute and DCA in one: the weight of a post-fader detector, and 0 takes no share.
// A channel joins and leaves a group from and to unity gain, over 0.5 s.
void eh_automix_set_channel(eh_automix *a, int channel, const eh_automix_params *p, float fader_lin) EH_RT;
void eh_automix_set_group(eh_automix *a, int group, const eh_share_params *p) EH_RT;  // group 0 to EH_N_GROUP - 1
// Forgets sound; all crossfades jump to their ends. What was set before the first sound needs it too.
void eh_automix_reset(eh_automix *a) EH_RT;
void eh_automix_reset_channel(eh_automix *a, int channel) EH_RT;
// Multiplies each lane by its channel's gain; lanes of no group pass bit for bit.
void eh_automix_process(eh_automix *a, const float *in, float *out, size_t n_frames) EH_RT;
