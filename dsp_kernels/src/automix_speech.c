// Speech mode: gain^2 is the channel's share of the group's power (US patent 3,992,584, expired).
#include "automix_state.h"
#include "log2exp2.h"

// g_i = sqrt(s_i E_i / sum_j s_j E_j), E = w P + eps smoothed in dB, s the share ramp: sum of g^2 is 1 at every tick,
// and in between at most 1, for a linear ramp between two unit vectors stays inside the ball.
//
// Smoothing the powers and not the gains keeps that sum without a second correction. A level rises with the attack. It
// falls with the release while the whole group pauses; but when the group as heard now is as loud as the group as held,
// somebody else speaks, and the held one must not stand in the way: the release gives way to the attack. A step is
// followed faster the larger it is: onsets and changes of talker pass at once, the ripple of a steady sound is
// smoothed.
#define HEARD_FROM 0.25f  // of the held power: the release begins to give way (ours)
#define HEARD_FULL 0.50f
#define SPEED_HZ 750.0f  // rate of the smoothing per 3 dB of distance (ours)

static inline void share(automix_state *s, automix_group *g) {
    const float release_coeff = g->release_coeff + g->fast_release * (g->attack_coeff - g->release_coeff);
    const v4 attack = v4_set1(g->attack_coeff), release = v4_set1(release_coeff), one = v4_set1(1.0f);
    const v4 rise_speed = v4_set1(SPEED_HZ / s->tick_hz),
             fall_speed = v4_set1(-SPEED_HZ / s->tick_hz * g->fast_release);
    const v4 eps = v4_set1(AUTOMIX_EPS_POWER);
    const float *weight = s->slot[SLOT_NOW + RAMP_WEIGHT], *share = s->slot[SLOT_NOW + RAMP_SHARE];
    const float *power = s->slot[SLOT_POWER];
    float *smooth = s->slot[SLOT_SMOOTH], *held = s->slot[SLOT_LINEAR], *gain = s->slot[SLOT_GAIN_AUTO];
    const int end = g->first + g->n_slots;
    v4 held_sum = v4_set1(0.0f), heard_sum = v4_set1(0.0f);
    for (int i = g->first; i < end; i += 4) {
        const v4 level = v4_fma(v4_load(weight + i), v4_load(power + i), eps);
        const v4 before = v4_load(smooth + i), d = v4_log2(level) - before;
        const v4 rise = v4_min(v4_fma(rise_speed, d, attack), one), fall = v4_min(v4_fma(fall_speed, d, release), one);
        const v4 followed = v4_fma(v4_select(d > 0.0f, rise, fall), d, before);
        const v4 lin = v4_load(share + i) * v4_exp2(followed);
        v4_store(smooth + i, followed);
        v4_store(held + i, lin);
        held_sum = held_sum + lin;
        heard_sum = v4_fma(v4_load(share + i), level, heard_sum);
    }
    const float total = automix_sum(held_sum);
    const float by_total = 1.0f / (total > 1e-20f ? total : 1e-20f);
    const v4 scale = v4_set1(by_total);
    for (int i = g->first; i < end; i += 4) v4_store(gain + i, v4_sqrt(v4_load(held + i) * scale));
    const float gives_way = (automix_sum(heard_sum) * by_total - HEARD_FROM) * (1.0f / (HEARD_FULL - HEARD_FROM));
    g->fast_release = gives_way < 0.0f ? 0.0f : gives_way > 1.0f ? 1.0f : gives_way;
    g->nom = total > 0.0f ? 1.0f : 0.0f;
}

// All groups in one call: what is constant is loaded once for all of them.
void automix_speech(automix_state *s) {
    for (int k = 0; k < s->n_used; k++) {
        automix_group *g = &s->group[s->used[k]];
        if (g->mode == EH_SHARE_MODE_SPEECH) share(s, g);
    }
}
