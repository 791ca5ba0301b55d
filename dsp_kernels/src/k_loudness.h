// K-weighted loudness of single channels over 400 ms and 3 s.
#pragma once

#include "feature_taps.h"

enum { EH_MOMENTARY_HOPS = 40, EH_SHORT_TERM_HOPS = 300, EH_LOUDNESS_BLOCK_HOPS = 10 };

typedef struct {
    int n_groups;
    float hop_frames;
    v4 *hops;    // (n_groups, EH_N_TAPS, EH_SHORT_TERM_HOPS): mean squares
    v4 *blocks;  // (n_groups, EH_N_TAPS, EH_SHORT_TERM_HOPS / EH_LOUDNESS_BLOCK_HOPS): their sums
    int newest;  // slot of the hop
} eh_k_loudness;

void eh_k_loudness_init(eh_k_loudness *k, int n_groups, int hop_frames, eh_arena *arena);
void eh_k_loudness_reset(eh_k_loudness *k);
void eh_k_loudness_next(eh_k_loudness *k);  // begins a hop
void eh_k_loudness_take(eh_k_loudness *k, const eh_taps *taps, int group, int tap, v4 *momentary_lufs,
                        v4 *short_term_lufs);
