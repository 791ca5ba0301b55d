// How much of each channel the rest of the mix masks, and which channel does most of it.
#pragma once

#include "arena.h"
#include "evenhand/types.h"
#include "simd.h"

typedef struct {
    int n_groups;
    float keep, share_keep;
    v4 *gain2;             // (n_groups, EH_N_BARK): power gain into the mix
    v4 *power;             // (n_groups, EH_N_BARK): in the mix
    v4 *spread;            // (n_groups, EH_N_BARK): excitation
    float all[EH_N_BARK];  // of all channels together
    v4 *share;             // (n_groups * 4, n_groups): how much of the channel's masking each other one does, averaged
    float *fraction, *masker, *masked_by;  // (n_groups * 4)
} eh_masking;

void eh_masking_init(eh_masking *m, int n_groups, float hop_rate_hz, eh_arena *arena);
void eh_masking_reset(eh_masking *m);  // keeps the gains
void eh_masking_set_gain(eh_masking *m, int channel, const float *bark_gain_lin);
void eh_masking_take(eh_masking *m, int group, const v4 *bark_power);
void eh_masking_begin(eh_masking *m);  // after all groups were taken: sums over the channels
// An inactive channel keeps its fraction and names nobody. Maskers are looked for in every fourth hop.
void eh_masking_judge(eh_masking *m, int group, v4 is_active, uint32_t hop);
