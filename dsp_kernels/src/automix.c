// Automixer: what is set, and the order of one gain computation.
#include "automix_state.h"
#include "bank.h"
#include "units.h"

#define BAND_LOW_HZ 150.0  // corner of the detector's high-pass, Butterworth
#define BOXCAR_RATE_HZ 12000.0
#define QUIETEST_STATE 1e-18f  // what has decayed so far is zero, before it becomes denormal

size_t eh_automix_size_bytes(int n_lanes) {
    (void)n_lanes;
    return (sizeof(automix_state) + 63) & ~(size_t)63;
}

static automix_state *state_of(const eh_automix *a) { return (automix_state *)(void *)a->memory; }

eh_status eh_automix_init(eh_automix *a, float sample_rate_hz, int n_lanes, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    if (!memory) return EH_ERR_ARGUMENT;
    *a = (eh_automix){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes, .memory = memory};
    automix_state *s = state_of(a);
    memset(s, 0, sizeof *s);
    s->tick_hz = sample_rate_hz / EH_AUTOMIX_FRAMES;
    // The side chain runs on means of 4 frames at 48 kHz. The mean is its low-pass, -3 dB at 5.3 kHz, -11 dB at most
    // above 12 kHz; that the rest folds over does not matter, for only its energy counts.
    s->boxcar_frames = sample_rate_hz < 5.7f * BOXCAR_RATE_HZ ? 4 : sample_rate_hz < 11.4f * BOXCAR_RATE_HZ ? 8 : 16;
    double sine, cosine;
    eh_sincos(EH_PI * BAND_LOW_HZ * s->boxcar_frames / sample_rate_hz, &sine, &cosine);
    s->band_coeff = (float)(2.0 * sine);
    s->power_scale = 1.0f / (float)(s->boxcar_frames * EH_AUTOMIX_FRAMES);
    automix_open_init(s);
    eh_params defaults;
    eh_params_set_defaults(&defaults);
    for (int lane = 0; lane < EH_MAX_LANES; lane++) s->lane_channel[lane] = -1;
    for (int c = 0; c < EH_N_CHANNEL; c++)
        s->channel[c] = (automix_channel){defaults.channel[c].automix, 1.0f, -1, AUTOMIX_REST_SLOT, 20.0f, true};
    for (int g = 0; g < EH_N_GROUP; g++)
        s->group[g] = (automix_group){.params = defaults.group[g].share, .mode = -1, .last = -1, .ambience = -1};
    s->group[AUTOMIX_LISTENERS] = (automix_group){.ambience = -1, .last = -1};
    automix_set_detector(s, &s->group[AUTOMIX_LISTENERS], defaults.group[0].share.detector_ms);
    s->is_map_changed = true;
    eh_automix_reset(a);
    return EH_OK;
}

void eh_automix_map_lane(eh_automix *a, int lane, int channel) {
    automix_state *s = state_of(a);
    if (lane < 0 || lane >= a->n_lanes || channel >= EH_N_CHANNEL) return;
    s->lane_channel[lane] = channel < 0 ? -1 : channel;
    s->is_map_changed = s->is_changed = true;
}

void eh_automix_set_channel(eh_automix *a, int channel, const eh_automix_params *p, float fader_lin) {
    automix_state *s = state_of(a);
    automix_channel *c = &s->channel[channel];
    const eh_automix_params *q = &c->params;
    const bool is_same_weight = p->weight_db == q->weight_db, is_same_override = p->is_override == q->is_override;
    const bool is_same_place = p->group == q->group && p->state == q->state;
    if (is_same_weight && is_same_override && is_same_place && fader_lin == c->fader_lin) return;
    if (!is_same_override) {
        c->weight_ramp_ms = 500.0f;
    } else if (!is_same_weight) {
        c->weight_ramp_ms = 50.0f;
    }
    c->params = *p;
    c->fader_lin = fader_lin;
    c->is_changed = s->is_changed = true;
}

void eh_automix_set_group(eh_automix *a, int group, const eh_share_params *p) {
    automix_state *s = state_of(a);
    automix_group *g = &s->group[group];
    if (memcmp(p, &g->params, sizeof *p) == 0) return;
    if (p->tap != g->params.tap)
        for (int c = 0; c < EH_N_CHANNEL; c++) s->channel[c].is_changed = true;
    g->params = *p;
    g->is_changed = s->is_changed = true;
}

// ------------------------------------------------------------------------------------------------ one gain computation

static void hear_channels(automix_state *s) {
    const float *lane_power = s->power;
    for (int i = 0; i < s->n_more; i++) s->power[s->first_lane[i]] += lane_power[s->more_lane[i]];
    for (int k = 0; k < s->n_used; k++) {
        const automix_group *g = &s->group[s->used[k]];
        const v4 rise = v4_set1(g->detector_rise), fall = v4_set1(g->detector_fall), tiny = v4_set1(1e-15f);
        float *power = s->slot[SLOT_POWER];
        for (int i = g->first, end = g->first + g->n_slots; i < end; i += 4) {
            const v4 heard = automix_gather(lane_power, s->slot_lane + i, s->is_slot_run[i / 4]);
            // 1e-15, -150 dBFS: a decay ends there and not among the denormals.
            const v4 mean = v4_fma(heard, v4_load(s->lane_share + i), tiny);
            v4_store(power + i, automix_follow(v4_load(power + i), mean, rise, fall));
        }
    }
}

static void automix_off(automix_state *s, automix_group *g) {
    const float *share = s->slot[SLOT_NOW + RAMP_SHARE];
    float *gain = s->slot[SLOT_GAIN_AUTO];
    v4 sum = v4_set1(0.0f);
    for (int i = g->first; i < g->first + g->n_slots; i += 4) {
        v4_store(gain + i, v4_set1(1.0f));
        sum = sum + v4_load(share + i);
    }
    g->nom = automix_sum(sum);
}

static void share_gains(automix_state *s) {
    automix_speech(s);
    for (int k = 0; k < s->n_used; k++) {
        automix_group *g = &s->group[s->used[k]];
        switch (g->mode) {
            case EH_SHARE_MODE_SPEECH:
                break;
            case EH_SHARE_MODE_MUSIC:
                automix_music(s, g);
                break;
            case EH_SHARE_MODE_GATED:
                automix_gated(s, g);
                break;
            default:
                automix_off(s, g);
                break;
        }
        if (!(g->fade > 0.0f)) continue;
        g->fade = g->fade > g->fade_step ? g->fade - g->fade_step : 0.0f;
        const v4 fade = v4_set1(g->fade);
        for (int i = g->first; i < g->first + g->n_slots; i += 4) {
            const v4 gain = v4_load(s->slot[SLOT_GAIN_AUTO] + i), from = v4_load(s->slot[SLOT_GAIN_FROM] + i);
            v4_store(s->slot[SLOT_GAIN_AUTO] + i, v4_fma(fade, from - gain, gain));
        }
    }
    const float *in_auto = s->slot[SLOT_NOW + RAMP_AUTO], *manual = s->slot[SLOT_NOW + RAMP_MANUAL];
    const float *gain_auto = s->slot[SLOT_GAIN_AUTO];
    float *gain = s->slot[SLOT_GAIN];
    for (int i = 0, end = s->n_slots; i < end; i += 4)
        v4_store(gain + i, v4_fma(v4_load(in_auto + i), v4_load(gain_auto + i), v4_load(manual + i)));
}

// Each 16 ticks: noise floors, who spoke last, who hears whom; and decayed filters become silent.
static void slow_tick(automix_state *s, int n_lanes) {
    for (int k = 0; k < s->n_used; k++) {
        automix_group *g = &s->group[s->used[k]];
        if (g->mode != EH_SHARE_MODE_MUSIC && g->mode != EH_SHARE_MODE_GATED) continue;
        automix_open_floors(s, g);
        automix_open_last(s, g);
        if (g->mode == EH_SHARE_MODE_GATED) automix_gated_correlate(s, g);
    }
    for (int lane = 0; lane < n_lanes; lane += 4) {
        const v4 low = v4_load(s->low + lane), band = v4_load(s->band + lane);
        v4_store(s->low + lane, v4_select(v4_abs(low) > QUIETEST_STATE, low, v4_set1(0.0f)));
        v4_store(s->band + lane, v4_select(v4_abs(band) > QUIETEST_STATE, band, v4_set1(0.0f)));
    }
}

static void tick(automix_state *s, int n_lanes) {
    if (s->is_changed) automix_apply(s, n_lanes, false);
    s->slow_phase = (s->slow_phase + 1) % AUTOMIX_SLOW_TICKS;
    if (!s->is_any_active) return;
    hear_channels(s);
    if (s->ramp_ticks_left > 0) automix_ramp(s);
    share_gains(s);
    if (s->slow_phase == 0) slow_tick(s, n_lanes);
}

static void show(eh_automix *a, const automix_state *s) {
    for (int c = 0; c < EH_N_CHANNEL; c++) a->gain_lin[c] = s->slot[SLOT_GAIN][s->channel[c].slot];
    for (int g = 0; g < EH_N_GROUP; g++) {
        a->nom[g] = s->group[g].n_slots ? s->group[g].nom : 0.0f;
        a->last_channel[g] = s->group[g].last;
    }
}

static void forget_lane(automix_state *s, int lane) {
    s->boxcar[lane] = s->low[lane] = s->band[lane] = s->square[lane] = s->power[lane] = 0.0f;
}

static void forget_slot(automix_state *s, int slot) {
    const automix_channel *c = &s->channel[s->slot_channel[slot]];
    s->slot[SLOT_POWER][slot] = 0.0f;
    s->slot[SLOT_FLOOR][slot] = s->slot[SLOT_MEAN][slot] = AUTOMIX_FLOOR_START_LOG2;
    s->slot[SLOT_VARIANCE][slot] = 4.0f;
    automix_mode_start(s, &s->group[c->group], slot);
}

void eh_automix_reset(eh_automix *a) {
    automix_state *s = state_of(a);
    automix_apply(s, a->n_lanes, true);
    s->phase = s->slow_phase = s->ramp_ticks_left = 0;
    memset(s->covariance, 0, sizeof s->covariance);
    for (int g = 0; g < AUTOMIX_GROUPS; g++) {
        s->group[g].fast_release = 0.0f;
        s->group[g].last = -1;
    }
    for (int i = 0; i < s->n_slots; i++)
        if (s->slot_channel[i] >= 0) forget_slot(s, i);
    share_gains(s);
    for (int lane = 0; lane < a->n_lanes; lane++) {
        forget_lane(s, lane);
        s->gain[lane] = s->slot[SLOT_GAIN][s->lane_slot[lane]];
    }
    show(a, s);
}

void eh_automix_reset_channel(eh_automix *a, int channel) {
    automix_state *s = state_of(a);
    for (int lane = 0; lane < a->n_lanes; lane++)
        if (s->lane_channel[lane] == channel) forget_lane(s, lane);
    if (s->channel[channel].slot != AUTOMIX_REST_SLOT) forget_slot(s, s->channel[channel].slot);
}

void eh_automix_process(eh_automix *a, const float *in, float *out, size_t n_frames) {
    automix_state *s = state_of(a);
    const size_t stride = (size_t)a->n_lanes;
    while (n_frames > 0) {
        const int until_tick = EH_AUTOMIX_FRAMES - s->phase,
                  n = n_frames < (size_t)until_tick ? (int)n_frames : until_tick;
        automix_lanes(s, in, out, a->n_lanes, n);
        in += (size_t)n * stride;
        out += (size_t)n * stride;
        n_frames -= (size_t)n;
        s->phase = (s->phase + n) % EH_AUTOMIX_FRAMES;
        if (s->phase == 0) tick(s, a->n_lanes);
    }
    show(a, s);
}
