// Which channel each one hears by bleed, and which channels are active by their own.
#pragma once

#include "envelope.h"
#include "pairs.h"

typedef struct {
    v4 source, coherence, delay_ms, is_bleed, is_active, idle_hops;
} eh_bleed_group;

typedef struct {
    int n_groups;
    float hold_hops;
    eh_bleed_group *group;
    v4 *recent_level;  // (n_groups): largest of the last hops
} eh_bleed;

void eh_bleed_init(eh_bleed *b, int n_groups, float hop_ms, eh_arena *arena);
void eh_bleed_reset(eh_bleed *b);
// Chooses the source of each channel from what the pairs have learnt.
void eh_bleed_choose(eh_bleed *b, const eh_pairs *pairs);
// Decides on activity; after the envelopes of all groups have seen the hop.
void eh_bleed_decide(eh_bleed *b, const eh_envelope *envelope, const eh_pairs *pairs);
// Power above which the channels of a group stand clear of their noise floor and may teach.
v4 eh_bleed_least_source_power(v4 floor_db);
