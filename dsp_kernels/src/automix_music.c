// Music mode: each channel alone is expanded 2:1 below a threshold that follows the ambience. For choirs and horns.
#include "automix_state.h"
#include "log2exp2.h"

void automix_music(automix_state *s, automix_group *g) {
    // The ambience channel's level is for all; a channel's own noise floor is for itself, and knows of no fader.
    const bool is_own = g->ambience < 0;
    const float *weight = is_own ? s->slot[SLOT_OWN_WEIGHT] : s->slot[SLOT_NOW + RAMP_WEIGHT];
    v4 threshold = v4_set1(g->threshold_log2);
    if (!is_own) {
        const float ambience = s->slot[SLOT_POWER][s->channel[g->ambience].slot];
        threshold = threshold + v4_log2(v4_set1(ambience + AUTOMIX_EPS_POWER));
    }
    const v4 own = v4_set1(is_own ? 1.0f : 0.0f), lowest = v4_set1(-g->depth_log2), zero = v4_set1(0.0f);
    const float *share = s->slot[SLOT_NOW + RAMP_SHARE], *power = s->slot[SLOT_POWER];
    float *target = s->slot[SLOT_LINEAR], *smooth = s->slot[SLOT_SMOOTH];
    const int end = g->first + g->n_slots;
    v4i any = {0};
    for (int i = g->first; i < end; i += 4) {
        const v4 level = v4_fma(v4_load(weight + i), v4_load(power + i), v4_set1(AUTOMIX_EPS_POWER));
        const v4 above = v4_log2(level) - v4_fma(own, v4_load(s->slot[SLOT_FLOOR] + i), threshold);
        const v4i is_sounding = (above >= 0.0f) & (v4_load(share + i) > 0.0f);
        any |= is_sounding;
        v4_store(s->slot[SLOT_LEVEL] + i, level);
        v4_store(s->slot[SLOT_SOUNDING] + i, automix_mask(is_sounding));
        v4_store(target + i, v4_max(v4_min(above, zero), lowest));
    }
    if (g->last >= 0 && g->params.is_last_hold_on > 0.5f && !v4_any(any)) target[s->channel[g->last].slot] = 0.0f;
    const v4 attack = v4_set1(g->attack_coeff), release = v4_set1(g->release_coeff);
    for (int i = g->first; i < end; i += 4)
        v4_store(smooth + i, automix_follow(v4_load(smooth + i), v4_load(target + i), attack, release));
    automix_open_gains(s, g);
}
