// What a model is shown: feature records of all channels, once a tick, become the columns of the contract's
// [[model_input]] for each channel and [[mix_input]] for all together. Levels count as if the trim were 0. Not for the
// audio thread.
//
// Slow means are means until there are 8 s, then one-poles of 8 s; those of a channel only move while it is active. A
// channel is heard after 0.3 s of activity: only heard channels count in what compares channels, and one that was never
// active changes nothing for the others. Until then its own columns read -1 in mel_now, mel_slow, is_active and
// has_bleed_source, what holds for the mix in count, is_stereo, and 0 elsewhere.
#pragma once

#include "types.h"

typedef struct {
    int n_channels;
    float tick_s;
    void *memory;  // layout in model_input_state.h
} eh_model_input;

size_t eh_model_input_size_bytes(int n_channels);  // 0 for a bad number
eh_status eh_model_input_init(eh_model_input *m, int n_channels, float tick_s, void *memory);
void eh_model_input_reset(eh_model_input *m);                       // forgets all sound; stereo stays
void eh_model_input_reset_channel(eh_model_input *m, int channel);  // something else is plugged in
void eh_model_input_set_stereo(eh_model_input *m, int channel, int is_stereo);
// records and trim_db hold n_channels, out (n_channels, EH_N_MODEL_INPUT), out_mix EH_N_MIX_INPUT. Every value written
// lies in [-1, 1]; what is not finite in a record reads as silence, in trim_db as 0. The channels' order does not
// change a bit.
void eh_model_input_process(eh_model_input *m, const eh_channel_features *records, const eh_mix_features *mix,
                            const float *trim_db, float *out, float *out_mix);
