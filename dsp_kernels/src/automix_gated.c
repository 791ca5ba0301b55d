// Gated mode: microphones open and close; of those that hear one source only the loudest opens.
#include "automix_state.h"
#include "log2exp2.h"

#define EVIDENCE_MS 100.0f         // before a microphone that is not the loudest counts as a source of its own (ours)
#define SAME_SOURCE_SQUARED 0.49f  // correlation of the levels above 0.7: one source
#define STEAL_RATIO 2.0f           // 3 dB louder than the quietest open one takes its place (ours)

// Correlation of the levels in dB over half a second: a microphone is bleed when a louder one moves as it does.
void automix_gated_correlate(automix_state *s, automix_group *g) {
    const float *deviation = s->slot[SLOT_DEVIATION], *variance = s->slot[SLOT_VARIANCE];
    const float *level = s->slot[SLOT_LEVEL], *sounding = s->slot[SLOT_SOUNDING];
    const v4 coeff = v4_set1(s->variance_coeff);
    for (int i = g->first; i < g->first + g->n_slots; i++) {
        const v4 mine = v4_set1(deviation[i]), bound = v4_set1(SAME_SOURCE_SQUARED * variance[i]);
        const v4 my_level = v4_set1(level[i]);
        float *covariance = s->covariance[i] - g->first;
        v4i is_bleed = {0};
        for (int j = g->first; j < g->first + g->n_slots; j += 4) {
            v4 both = v4_load(covariance + j);
            both = v4_fma(coeff, v4_fma(mine, v4_load(deviation + j), -both), both);
            v4_store(covariance + j, both);
            is_bleed |= (both > 0.0f) & (both * both > bound * v4_load(variance + j)) &
                        (v4_load(level + j) > my_level) & (v4_load(sounding + j) > 0.0f);
        }
        s->slot[SLOT_IS_BLEED][i] = v4_any(is_bleed) ? 1.0f : 0.0f;
    }
}

// Levels and who is above the noise floor; returns the loudest slot.
static int gated_listen(automix_state *s, const automix_group *g) {
    const float *share = s->slot[SLOT_NOW + RAMP_SHARE], *power = s->slot[SLOT_POWER];
    const v4 threshold = v4_set1(g->threshold_log2), eps = v4_set1(AUTOMIX_EPS_POWER);
    int loudest = g->first;
    for (int i = g->first; i < g->first + g->n_slots; i += 4) {
        const v4i has_share = v4_load(share + i) > 0.0f;
        const v4 own = v4_log2(v4_fma(v4_load(s->slot[SLOT_OWN_WEIGHT] + i), v4_load(power + i), eps));
        const v4i is_sounding = (own > v4_load(s->slot[SLOT_FLOOR] + i) + threshold) & has_share;
        const v4 level = v4_load(s->slot[SLOT_NOW + RAMP_WEIGHT] + i) * v4_load(power + i);
        v4_store(s->slot[SLOT_SOUNDING] + i, automix_mask(is_sounding));
        v4_store(s->slot[SLOT_LEVEL] + i, v4_select(has_share, level, v4_set1(0.0f)));
        for (int k = i; k < i + 4; k++)
            if (s->slot[SLOT_LEVEL][k] > s->slot[SLOT_LEVEL][loudest]) loudest = k;
    }
    return loudest;
}

static int gated_quietest_open(const automix_state *s, const automix_group *g) {
    int quietest = -1;
    for (int i = g->first; i < g->first + g->n_slots; i++)
        if (s->slot[SLOT_IS_OPEN][i] > 0.0f && (quietest < 0 || s->slot[SLOT_LEVEL][i] < s->slot[SLOT_LEVEL][quietest]))
            quietest = i;
    return quietest;
}

// Opens slot i if there is room, or in the place of a quieter one; returns the change in number.
static int gated_open(automix_state *s, const automix_group *g, int i, int n_open) {
    int change = 1;
    if (n_open >= g->max_open) {
        const int quietest = gated_quietest_open(s, g);
        if (!(s->slot[SLOT_LEVEL][i] > STEAL_RATIO * s->slot[SLOT_LEVEL][quietest])) return 0;
        s->slot[SLOT_IS_OPEN][quietest] = 0.0f;
        change = 0;
    }
    s->slot[SLOT_IS_OPEN][i] = 1.0f;
    s->slot[SLOT_HOLD_TICKS][i] = g->hold_ticks;
    return change;
}

// Closes what has been silent, or bleed, for the hold time, and what is too many; returns the number still open.
static int gated_close(automix_state *s, const automix_group *g, int loudest) {
    float *is_open = s->slot[SLOT_IS_OPEN], *hold = s->slot[SLOT_HOLD_TICKS], *ticks = s->slot[SLOT_SOUNDING_TICKS];
    int n_open = 0;
    for (int i = g->first; i < g->first + g->n_slots; i++) {
        const bool is_sounding = s->slot[SLOT_SOUNDING][i] > 0.0f;
        const bool is_bleed = s->slot[SLOT_IS_BLEED][i] > 0.0f && i != loudest;
        ticks[i] = is_sounding ? (ticks[i] < 1e6f ? ticks[i] + 1.0f : ticks[i]) : 0.0f;
        hold[i] = is_sounding && !is_bleed ? g->hold_ticks : hold[i] > 0.0f ? hold[i] - 1.0f : 0.0f;
        if (!(hold[i] > 0.0f) && !is_sounding) is_open[i] = 0.0f;
        if (!(hold[i] > 0.0f) && is_bleed) is_open[i] = 0.0f;
        if (!(s->slot[SLOT_NOW + RAMP_SHARE][i] > 0.0f)) is_open[i] = 0.0f;
        n_open += is_open[i] > 0.0f;
    }
    if (n_open > g->max_open) {
        s->slot[SLOT_IS_OPEN][gated_quietest_open(s, g)] = 0.0f;
        n_open--;
    }
    return n_open;
}

void automix_gated(automix_state *s, automix_group *g) {
    const int loudest = gated_listen(s, g), end = g->first + g->n_slots;
    const float evidence_ticks = EVIDENCE_MS * 0.001f * s->tick_hz;
    float *is_open = s->slot[SLOT_IS_OPEN], *smooth = s->slot[SLOT_SMOOTH];
    int n_open = gated_close(s, g, loudest);
    for (int i = g->first; i < end; i++) {
        const bool is_source = s->slot[SLOT_SOUNDING_TICKS][i] >= evidence_ticks && !(s->slot[SLOT_IS_BLEED][i] > 0.0f);
        if (s->slot[SLOT_SOUNDING][i] > 0.0f && !(is_open[i] > 0.0f) && (i == loudest || is_source))
            n_open += gated_open(s, g, i, n_open);
    }
    const bool is_held = n_open == 0 && g->last >= 0 && g->params.is_last_hold_on > 0.5f;
    const int held = is_held ? s->channel[g->last].slot : AUTOMIX_REST_SLOT;
    s->slot[SLOT_IS_OPEN][held] += 1.0f;
    const v4 attack = v4_set1(g->attack_coeff), release = v4_set1(g->release_coeff), closed = v4_set1(-g->depth_log2);
    for (int i = g->first; i < end; i += 4) {
        const v4 target = v4_select(v4_load(is_open + i) > 0.0f, v4_set1(0.0f), closed);
        v4_store(smooth + i, automix_follow(v4_load(smooth + i), target, attack, release));
    }
    s->slot[SLOT_IS_OPEN][held] = 0.0f;
    automix_open_gains(s, g);
}
