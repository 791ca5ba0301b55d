// Who sits in which slot, and the ramps from what was to what was set.
#include "automix_state.h"
#include "log2exp2.h"
#include "units.h"

#define CROSSFADE_MS 500.0f  // auto, manual, mute, override, joining, leaving, change of mode
#define WEIGHT_MS 50.0f
#define FADER_MS 20.0f
#define DETECTOR_RISE 0.4f  // of the detector's time constant (ours): a word's first milliseconds count

static bool is_group(int group) { return group >= 0 && group < EH_N_GROUP; }

static float follow_coeff(float tau_ms, float rate_hz) { return (float)(1.0 - eh_one_pole_coeff(tau_ms, rate_hz)); }

// What a mode smooths starts where silence would have it: speech at its level, the others closed.
void automix_mode_start(automix_state *s, const automix_group *g, int slot) {
    const float power = s->slot[SLOT_NOW + RAMP_WEIGHT][slot] * s->slot[SLOT_POWER][slot] + AUTOMIX_EPS_POWER;
    const bool is_speech = g->mode == EH_SHARE_MODE_SPEECH;
    s->slot[SLOT_SMOOTH][slot] = is_speech ? v4_log2(v4_set1(power))[0] : -g->depth_log2;
    for (int value = SLOT_SOUNDING; value <= SLOT_IS_BLEED; value++) s->slot[value][slot] = 0.0f;
}

void automix_set_detector(automix_state *s, automix_group *g, float detector_ms) {
    g->detector_rise = follow_coeff(DETECTOR_RISE * detector_ms, s->tick_hz);
    g->detector_fall = follow_coeff(detector_ms, s->tick_hz);
}

static void apply_group(automix_state *s, automix_group *g, bool is_jump) {
    const eh_share_params *p = &g->params;
    const int mode = (int)p->mode;
    automix_set_detector(s, g, p->detector_ms);
    g->attack_coeff = follow_coeff(p->attack_ms, s->tick_hz);
    g->release_coeff = follow_coeff(p->release_ms, s->tick_hz);
    g->threshold_log2 = (float)(p->threshold_db / (EH_DB_PER_LOG2 / 2));
    g->depth_log2 = (float)(p->depth_db / (EH_DB_PER_LOG2 / 2));
    g->hold_ticks = p->hold_ms * 0.001f * s->tick_hz;
    g->ambience = mode == EH_SHARE_MODE_MUSIC ? (int)p->ambience_channel - 1 : -1;
    g->max_open = (int)p->max_open;
    g->nom_limit_target = p->nom_limit;
    if (mode != g->mode) {
        g->mode = mode;
        g->fade = 1.0f;
        g->fade_step = 1.0f / (CROSSFADE_MS * 0.001f * s->tick_hz);
        g->fast_release = 0.0f;
        g->last = -1;
        memcpy(s->slot[SLOT_GAIN_FROM] + g->first, s->slot[SLOT_GAIN_AUTO] + g->first,
               (size_t)g->n_slots * sizeof(float));
        for (int i = g->first; i < g->first + g->n_slots; i++) automix_mode_start(s, g, i);
    }
    if (is_jump) {
        g->fade = 0.0f;
        g->nom_limit = g->nom_limit_target;
    }
    g->is_changed = false;
}

static int wanted_group(const automix_state *s, int channel) {
    const int group = (int)s->channel[channel].params.group - 1;
    if (is_group(group)) return group;
    for (int g = 0; g < EH_N_GROUP; g++)
        if (s->group[g].ambience == channel) return AUTOMIX_LISTENERS;
    return -1;
}

// A slot that passes at unity and takes no part may leave its group.
static bool is_at_rest(const automix_state *s, int slot) {
    return s->slot[SLOT_NOW + RAMP_AUTO][slot] == 0.0f && s->slot[SLOT_NOW + RAMP_MANUAL][slot] == 1.0f;
}

static void set_target(automix_state *s, int slot, int ramp, float target, float ramp_ms, bool is_jump) {
    if (is_jump) s->slot[SLOT_NOW + ramp][slot] = target;
    if (target == s->slot[SLOT_TARGET + ramp][slot] && !is_jump) return;
    const float ticks = ramp_ms * 0.001f * s->tick_hz;
    s->slot[SLOT_TARGET + ramp][slot] = target;
    s->slot[SLOT_STEP + ramp][slot] = (target - s->slot[SLOT_NOW + ramp][slot]) / ticks;
    if (s->ramp_ticks_left < (int)ticks + 2) s->ramp_ticks_left = (int)ticks + 2;
}

static void set_targets(automix_state *s, automix_channel *c, bool stays, bool is_jump) {
    const eh_automix_params *p = &c->params;
    const int slot = c->slot, state = (int)p->state;
    const bool is_auto = stays && state == EH_AUTOMIX_STATE_AUTO;
    const bool is_manual = !stays || state == EH_AUTOMIX_STATE_MANUAL;
    const bool is_up = c->fader_lin > 0.0f;
    if (is_group(c->group)) {
        const double weight_db = p->weight_db + (p->is_override > 0.5f ? 12.0 : 0.0);
        const float own = (float)eh_exp2(weight_db / (EH_DB_PER_LOG2 / 2));
        const bool is_post = s->group[c->group].params.tap < 0.5f;
        // While the fader is down there is no share; the weight waits where it was.
        const float weight = !is_post ? own
                             : is_up  ? own * c->fader_lin * c->fader_lin
                                      : s->slot[SLOT_TARGET + RAMP_WEIGHT][slot];
        s->slot[SLOT_OWN_WEIGHT][slot] = own;
        set_target(s, slot, RAMP_WEIGHT, weight, c->weight_ramp_ms, is_jump);
    }
    const bool is_crossfade = s->slot[SLOT_TARGET + RAMP_AUTO][slot] != (is_auto ? 1.0f : 0.0f);
    set_target(s, slot, RAMP_SHARE, is_auto && is_up ? 1.0f : 0.0f, is_crossfade ? CROSSFADE_MS : FADER_MS, is_jump);
    set_target(s, slot, RAMP_AUTO, is_auto ? 1.0f : 0.0f, CROSSFADE_MS, is_jump);
    set_target(s, slot, RAMP_MANUAL, is_manual ? 1.0f : 0.0f, CROSSFADE_MS, is_jump);
    c->weight_ramp_ms = FADER_MS;
}

// A channel that comes into a group passes as it did before, and takes no share yet.
static void seat_newcomer(automix_state *s, int slot, bool is_from_nowhere) {
    for (int ramp = RAMP_SHARE; ramp < N_RAMPS; ramp++)
        s->slot[SLOT_NOW + ramp][slot] = s->slot[SLOT_TARGET + ramp][slot] = s->slot[SLOT_STEP + ramp][slot] = 0.0f;
    if (is_from_nowhere) {
        s->slot[SLOT_GAIN][slot] = 1.0f;
        s->slot[SLOT_FLOOR][slot] = s->slot[SLOT_MEAN][slot] = AUTOMIX_FLOOR_START_LOG2;
        s->slot[SLOT_VARIANCE][slot] = 4.0f;  // not known to be steady
    }
    s->slot[SLOT_NOW + RAMP_MANUAL][slot] = s->slot[SLOT_TARGET + RAMP_MANUAL][slot] = s->slot[SLOT_GAIN][slot];
}

static bool is_run(const int *index) {
    return index[1] == index[0] + 1 && index[2] == index[0] + 2 && index[3] == index[0] + 3;
}

static void seat_lanes(automix_state *s, int n_lanes) {
    s->n_more = 0;
    for (int i = 0; i < AUTOMIX_SLOTS; i++) s->slot_lane[i] = AUTOMIX_REST_LANE;
    for (int i = 0; i < AUTOMIX_SLOTS; i++) s->lane_share[i] = 0.0f;
    s->is_any_active = false;
    for (int first = 0; first < n_lanes; first += 4) {
        bool is_active = false;
        for (int lane = first; lane < first + 4; lane++) {
            const int channel = s->lane_channel[lane],
                      slot = channel < 0 ? AUTOMIX_REST_SLOT : s->channel[channel].slot;
            s->lane_slot[lane] = slot;
            if (slot == AUTOMIX_REST_SLOT) {
                s->gain[lane] = 1.0f;
                continue;
            }
            is_active = true;
            s->lane_share[slot] += 1.0f;
            if (s->slot_lane[slot] == AUTOMIX_REST_LANE) {
                s->slot_lane[slot] = lane;
            } else {
                s->more_lane[s->n_more] = lane;
                s->first_lane[s->n_more++] = s->slot_lane[slot];
            }
        }
        if (is_active && !s->is_active[first / 4])
            for (int lane = first; lane < first + 4; lane++)
                s->boxcar[lane] = s->low[lane] = s->band[lane] = s->square[lane] = s->power[lane] = 0.0f;
        s->is_active[first / 4] = is_active;
        s->is_any_active |= is_active;
        s->is_lane_run[first / 4] = is_run(s->lane_slot + first);
    }
    for (int i = 0; i < AUTOMIX_SLOTS; i += 4) s->is_slot_run[i / 4] = is_run(s->slot_lane + i);
    for (int i = 0; i < AUTOMIX_SLOTS; i++) s->lane_share[i] = s->lane_share[i] > 0.0f ? 1.0f / s->lane_share[i] : 0.0f;
}

static void seat_channels(automix_state *s, const int *group_of) {
    float before[N_SLOT_VALUES][AUTOMIX_SLOTS];
    int slot_before[EH_N_CHANNEL], n = 0;
    memcpy(before, s->slot, sizeof before);
    memset(s->slot, 0, sizeof s->slot);
    memset(s->covariance, 0, sizeof s->covariance);
    for (int i = 0; i < AUTOMIX_SLOTS; i++) s->slot_channel[i] = -1;
    for (int c = 0; c < EH_N_CHANNEL; c++) {
        slot_before[c] = s->channel[c].slot;
        s->channel[c].slot = AUTOMIX_REST_SLOT;
    }
    s->n_used = 0;
    for (int g = 0; g < AUTOMIX_GROUPS; g++) {
        s->group[g].first = n;
        for (int c = 0; c < EH_N_CHANNEL; c++) {
            automix_channel *channel = &s->channel[c];
            if (group_of[c] != g) continue;
            for (int value = 0; value < N_SLOT_VALUES; value++) s->slot[value][n] = before[value][slot_before[c]];
            if (channel->group != g) {
                seat_newcomer(s, n, channel->group < 0);
                automix_mode_start(s, &s->group[g], n);
                channel->is_changed = true;
            }
            channel->slot = n;
            s->slot_channel[n++] = c;
        }
        n = (n + 3) & ~3;
        s->group[g].n_slots = n - s->group[g].first;
        if (s->group[g].n_slots > 0) s->used[s->n_used++] = g;
    }
    for (int c = 0; c < EH_N_CHANNEL; c++) s->channel[c].group = group_of[c];
    s->n_slots = n;
    s->slot[SLOT_GAIN][AUTOMIX_REST_SLOT] = 1.0f;
}

void automix_apply(automix_state *s, int n_lanes, bool is_jump) {
    int group_of[EH_N_CHANNEL];
    bool is_moved = s->is_map_changed;
    for (int g = 0; g < EH_N_GROUP; g++)
        if (s->group[g].is_changed || is_jump) apply_group(s, &s->group[g], is_jump);
    for (int c = 0; c < EH_N_CHANNEL; c++) {
        const automix_channel *channel = &s->channel[c];
        const int wanted = wanted_group(s, c);
        const bool may_leave = is_jump || !is_group(channel->group) || is_group(wanted) || is_at_rest(s, channel->slot);
        group_of[c] = may_leave ? wanted : channel->group;
        is_moved |= group_of[c] != channel->group;
    }
    if (is_moved) {
        seat_channels(s, group_of);
        seat_lanes(s, n_lanes);
    }
    for (int c = 0; c < EH_N_CHANNEL; c++) {
        automix_channel *channel = &s->channel[c];
        if (channel->slot != AUTOMIX_REST_SLOT && (channel->is_changed || is_jump)) {
            const bool stays = is_group(channel->group) && wanted_group(s, c) == channel->group;
            set_targets(s, channel, stays, is_jump);
        }
        channel->is_changed = false;
    }
    s->is_changed = s->is_map_changed = false;
}

void automix_ramp(automix_state *s) {
    for (int ramp = 0; ramp < N_RAMPS; ramp++) {
        float *now = s->slot[SLOT_NOW + ramp];
        for (int i = 0; i < s->n_slots; i += 4) {
            const v4 step = v4_load(s->slot[SLOT_STEP + ramp] + i), target = v4_load(s->slot[SLOT_TARGET + ramp] + i);
            const v4 next = v4_load(now + i) + step;
            v4_store(now + i, v4_select((target - next) * step <= 0.0f, target, next));
        }
    }
    if (--s->ramp_ticks_left == 0) s->is_changed = true;  // who waited to leave may go
}
