// The level over milliseconds (attack, decay), hops (onset, floor) and seconds (crest, syllabic modulation).
#include "envelope.h"

#include "evenhand/types.h"
#include "spectral_math.h"

#define ONSET_RISE 3.9810717f  // 6 dB over the quietest of the last 50 ms
#define REARM_RISE 1.5848932f  // 2 dB: the rise has ended
#define ONSET_FLUX 0.3f        // mean rise of the mel bands: 3 dB above what is usual for this sound
#define ONSET_GATE_DBFS -70.0f
#define ONSET_ABOVE_FLOOR_DB 6.0f
#define FIRST_FLOOR_DBFS -50.0f  // a sound that is there from the first hop counts as noise up to this level
#define TONAL_FLATNESS 0.25f
#define MIN_ONSET_HOPS 5.0f
#define SILENT_MODULATION 1e-14f  // mean square of an envelope that moves by -140 dBFS

enum {
    RMS_STEPS = 5,          // 5 ms
    BASE_STEPS = 60,        // where the quiet before a note is looked for
    NO_NEW_MAX_STEPS = 30,  // the attack is over
    MAX_RISE_STEPS = 500,
    CONFIRM_FALL_STEPS = 15,  // longer than a period of the lowest bass: its ripple is no decay
    MAX_FALL_STEPS = 2000,
};

void eh_envelope_init(eh_envelope *e, float sample_rate_hz, int n_groups, int hop_frames, eh_arena *arena) {
    static const double CORNER_HZ[4] = {0.5, 20.0, 3.0, 8.0};
    const size_t n = (size_t)n_groups;
    const double hop_rate_hz = (double)sample_rate_hz / hop_frames;
    e->n_groups = n_groups;
    e->hop_frames = hop_frames;
    e->step_ms = (float)(1000.0 / hop_rate_hz / EH_STEPS_PER_HOP);
    e->crest_keep = (float)eh_one_pole_coeff(200.0, hop_rate_hz);
    e->modulation_keep = (float)eh_one_pole_coeff(2000.0, hop_rate_hz);
    e->flux_keep = (float)eh_one_pole_coeff(500.0, hop_rate_hz);
    e->floor_fall = (float)(1.0 - eh_one_pole_coeff(500.0 / 3, hop_rate_hz));  // 95 % of the way in 0.5 s
    e->floor_rise = (float)(1.0 - eh_one_pole_coeff(5000.0, hop_rate_hz));
    e->floor_rise_tonal = (float)(1.0 - eh_one_pole_coeff(30000.0, hop_rate_hz));
    for (int i = 0; i < 4; i++) {
        const double g = eh_tan(EH_PI * CORNER_HZ[i] / hop_rate_hz), a1 = 1 / (1 + g * (g + 1.4142135623730951));
        e->filter[i] = (eh_slow_filter){(float)g, (float)a1, (float)(g * a1), (float)(g * g * a1)};
    }
    e->group = eh_arena_take(arena, n * sizeof *e->group);
    e->note = eh_arena_take(arena, n * 4 * sizeof *e->note);
    e->step_rms = eh_arena_take(arena, n * EH_ENVELOPE_STEPS * sizeof(v4));
    e->tail = eh_arena_take(arena, n * (RMS_STEPS - 1) * sizeof(v4));
}

void eh_envelope_reset(eh_envelope *e) {
    const size_t n = (size_t)e->n_groups;
    memset(e->group, 0, n * sizeof *e->group);
    memset(e->note, 0, n * 4 * sizeof *e->note);
    memset(e->step_rms, 0, n * EH_ENVELOPE_STEPS * sizeof(v4));
    memset(e->tail, 0, n * (RMS_STEPS - 1) * sizeof(v4));
    for (size_t i = 0; i < n; i++) {
        e->group[i].floor_db = v4_set1(EH_SILENCE_DBFS);
        e->group[i].is_armed = e->group[i].mean_flux = v4_set1(1.0f);
        e->group[i].hops_since_onset = v4_set1(MIN_ONSET_HOPS);
    }
    e->n_hops = 0;
}

void eh_envelope_levels(eh_envelope *e, const eh_taps *taps, int group, const int *step_frames) {
    eh_envelope_group *s = &e->group[group];
    const v4 *sum = taps->step_sum + group * EH_STEPS_PER_HOP;
    v4 *rms = e->step_rms + (size_t)group * EH_ENVELOPE_STEPS, *tail = e->tail + group * (RMS_STEPS - 1);
    const uint32_t first_step = e->n_hops * EH_STEPS_PER_HOP;
    v4 power[RMS_STEPS - 1 + EH_STEPS_PER_HOP], total = v4_set1(0.0f);
    memcpy(power, tail, (RMS_STEPS - 1) * sizeof(v4));
    for (int i = 0; i < EH_STEPS_PER_HOP; i++) {
        power[RMS_STEPS - 1 + i] = sum[i] / (float)step_frames[i];
        total += sum[i];
    }
    for (int i = 0; i < EH_STEPS_PER_HOP; i++) {
        const v4 mean = ((power[i] + power[i + 1]) + (power[i + 2] + power[i + 3]) + power[i + 4]) * (1.0f / RMS_STEPS);
        rms[(first_step + (uint32_t)i) % EH_ENVELOPE_STEPS] = v4_sqrt(mean);
    }
    memcpy(tail, power + EH_STEPS_PER_HOP, (RMS_STEPS - 1) * sizeof(v4));

    const v4 before = s->power;
    s->power = total / (float)e->hop_frames;
    s->level[e->n_hops % EH_LEVEL_HOPS] = (s->power + before) * 0.5f;
    const v4 keep = v4_set1(e->crest_keep), peak = taps->peak[group];
    s->crest_peak = v4_max(peak * peak, s->crest_peak * keep);
    s->crest_power = v4_fma(s->crest_power - s->power, keep, s->power);
}

v4 eh_envelope_level(const eh_envelope *e, int group, int hops_ago) {
    return e->group[group].level[(e->n_hops - (uint32_t)hops_ago) % EH_LEVEL_HOPS];
}

static v4 filtered(v4 state[2], v4 x, const eh_slow_filter *f, int is_highpass) {
    const v4 v3 = x - state[1];
    const v4 v1 = v4_fma(v4_set1(f->a1), state[0], v4_set1(f->a2) * v3);
    const v4 v2 = v4_fma(v4_set1(f->a2), state[0], v4_fma(v4_set1(f->a3), v3, state[1]));
    state[0] = v1 + v1 - state[0];
    state[1] = v2 + v2 - state[1];
    return is_highpass ? v4_fnma(v4_set1(1.41421356f), v1, x - v2) : v2;
}

static void follow_modulation(const eh_envelope *e, eh_envelope_group *s) {
    const v4 keep = v4_set1(e->modulation_keep);
    const v4 above = filtered(s->filter[0], v4_sqrt(s->power), &e->filter[0], 1);
    const v4 all = filtered(s->filter[1], above, &e->filter[1], 0);
    const v4 from3 = filtered(s->filter[2], all, &e->filter[2], 1);
    const v4 syllabic = filtered(s->filter[3], from3, &e->filter[3], 0);
    s->modulation_all = v4_fma(s->modulation_all - all * all, keep, all * all);
    s->modulation_syllabic = v4_fma(s->modulation_syllabic - syllabic * syllabic, keep, syllabic * syllabic);
}

v4 eh_envelope_syllabic(const eh_envelope *e, int group) {
    const eh_envelope_group *s = &e->group[group];
    const v4 ratio = v4_min(s->modulation_syllabic / v4_max(s->modulation_all, v4_set1(SILENT_MODULATION)), v4_set1(1));
    return v4_select(s->modulation_all > v4_set1(SILENT_MODULATION), ratio, v4_set1(0.0f));
}

v4 eh_envelope_crest_db(const eh_envelope *e, int group) {
    const eh_envelope_group *s = &e->group[group];
    const v4 silence = v4_set1(1e-10f);
    const v4 db = v4_power_to_db(v4_max(s->crest_peak, silence) / v4_max(s->crest_power, silence), 0.0f);
    return v4_select(s->crest_power > silence, db, v4_set1(0.0f));
}

static void follow_floor(const eh_envelope *e, eh_envelope_group *s, v4 level_db, v4 flatness, v4 is_active) {
    if (e->n_hops == 0) {
        s->floor_db = v4_min(level_db, v4_max(v4_set1(FIRST_FLOOR_DBFS), v4_set1(EH_SILENCE_DBFS)));
        return;
    }
    const v4i is_tonal = (is_active > v4_set1(0.5f)) & (flatness < v4_set1(TONAL_FLATNESS));
    const v4 rise = v4_select(is_tonal, v4_set1(e->floor_rise_tonal), v4_set1(e->floor_rise));
    const v4 speed = v4_select(level_db < s->floor_db, v4_set1(e->floor_fall), rise);
    s->floor_db = v4_max(v4_fma(speed, level_db - s->floor_db, s->floor_db), v4_set1(EH_SILENCE_DBFS));
}

// 1 in the hop in which the level, or the spectrum at equal level, starts to rise.
static void find_onsets(const eh_envelope *e, eh_envelope_group *s, v4 level_db, v4 flux) {
    const v4 one = v4_set1(1.0f), zero = v4_set1(0.0f);
    const v4 now = s->level[e->n_hops % EH_LEVEL_HOPS];
    v4 quietest = s->level[(e->n_hops - 2) % EH_LEVEL_HOPS];
    for (uint32_t ago = 3; ago <= 5; ago++) quietest = v4_min(quietest, s->level[(e->n_hops - ago) % EH_LEVEL_HOPS]);
    const v4 unusual_flux = v4_fma(v4_set1(2.0f), s->mean_flux, v4_set1(ONSET_FLUX));
    const v4i rises = (now > quietest * ONSET_RISE) | (flux > unusual_flux);
    const v4i is_sound = (level_db > v4_set1(ONSET_GATE_DBFS)) & (level_db > s->floor_db + ONSET_ABOVE_FLOOR_DB);
    const v4i may = (s->is_armed > zero) & (s->hops_since_onset >= v4_set1(MIN_ONSET_HOPS));
    const v4i begins = rises & is_sound & may;
    const v4i rearms = (now < quietest * REARM_RISE) & (flux < unusual_flux);
    s->onset = v4_select(begins, one, zero);
    s->is_armed = v4_select(begins, zero, v4_select(rearms | (now <= zero), one, s->is_armed));
    s->hops_since_onset = v4_select(begins, one, v4_min(s->hops_since_onset + one, v4_set1(1e6f)));
    s->mean_flux = v4_fma(s->mean_flux - flux, v4_set1(e->flux_keep), flux);
}

static float smoothed(float old, float now, int n_before) { return n_before == 0 ? now : old + 0.3f * (now - old); }

typedef struct {
    const v4 *rms;
    int lane;
} envelope_lane;

static float rms_at(envelope_lane x, uint32_t step) { return x.rms[step % EH_ENVELOPE_STEPS][x.lane]; }

// Step, with its fraction, at which the envelope first reaches level_lin in [first, last].
static float crossing(envelope_lane x, uint32_t first, uint32_t last, float level_lin, uint32_t *step) {
    uint32_t i = first;
    while (i != last && rms_at(x, i) < level_lin) i++;
    *step = i;
    if (i == first) return 0.0f;
    const float before = rms_at(x, i - 1), at = rms_at(x, i);
    return (float)(i - first) - (at > before ? (at - level_lin) / (at - before) : 0.0f);
}

static void begin_note(eh_note *note, envelope_lane x, uint32_t first_step) {
    // The rise may have begun in the hop before.
    const uint32_t from = first_step < BASE_STEPS ? 0 : first_step - BASE_STEPS;
    uint32_t quietest = from;
    for (uint32_t i = from; i < first_step; i++)
        if (rms_at(x, i) <= rms_at(x, quietest)) quietest = i;
    note->is_rising = 1;
    note->is_falling = 0;
    note->begin_step = note->max_step = quietest;
    note->base_lin = note->max_lin = first_step == 0 ? 0.0f : rms_at(x, quietest);
    for (uint32_t i = quietest; i < first_step; i++)
        if (rms_at(x, i) > note->max_lin) {
            note->max_lin = rms_at(x, i);
            note->max_step = i;
        }
}

static void end_rise(const eh_envelope *e, eh_note *note, envelope_lane x) {
    const float rise = note->max_lin - note->base_lin;
    note->is_rising = 0;
    note->is_falling = 1;
    note->above_step = note->max_step;
    if (note->max_lin < 2.0f * note->base_lin) return;  // a change of tone, not of level
    uint32_t low_step, high_step;
    const float low = crossing(x, note->begin_step, note->max_step, note->base_lin + 0.1f * rise, &low_step);
    const float high = crossing(x, note->begin_step, note->max_step, note->base_lin + 0.9f * rise, &high_step);
    note->attack_ms = smoothed(note->attack_ms, (high - low) * e->step_ms, note->n_attacks++);
}

static void end_fall(const eh_envelope *e, eh_note *note, float fall_db, uint32_t n_steps) {
    note->is_falling = 0;
    if (n_steps == 0) return;
    const float db_per_s = fall_db / ((float)n_steps * e->step_ms * 0.001f);
    note->decay_db_per_s = smoothed(note->decay_db_per_s, db_per_s, note->n_decays++);
}

static float ratio_db(float a, float b) { return (float)eh_lin_to_db((double)a / (b > 1e-9f ? (double)b : 1e-9)); }

// Follows the note through the steps of one hop.
static void follow_note(const eh_envelope *e, eh_note *note, envelope_lane x, uint32_t first_step) {
    for (uint32_t i = first_step; i < first_step + EH_STEPS_PER_HOP; i++) {
        const float now = rms_at(x, i);
        if (note->is_rising) {
            if (now > note->max_lin * 1.02f) {
                note->max_lin = now;
                note->max_step = i;
            }
            if (i - note->max_step >= NO_NEW_MAX_STEPS || i - note->begin_step >= MAX_RISE_STEPS) {
                end_rise(e, note, x);
                for (uint32_t j = note->max_step; j < i; j++)
                    if (rms_at(x, j) > 0.1f * note->max_lin) note->above_step = j;
            }
        }
        if (!note->is_falling) continue;
        if (now > 0.1f * note->max_lin) note->above_step = i;
        const uint32_t n_steps = note->above_step + 1 - note->max_step;
        if (i - note->above_step >= CONFIRM_FALL_STEPS)
            end_fall(e, note, 20.0f, n_steps);
        else if (n_steps >= MAX_FALL_STEPS)
            end_fall(e, note, ratio_db(note->max_lin, now), n_steps);
    }
}

void eh_envelope_notes(eh_envelope *e, int group, v4 flux, v4 flatness, v4 is_active) {
    eh_envelope_group *s = &e->group[group];
    const v4 level_db = v4_power_to_db(s->power, EH_SILENCE_DBFS);
    const uint32_t first_step = e->n_hops * EH_STEPS_PER_HOP;
    follow_floor(e, s, level_db, flatness, is_active);
    find_onsets(e, s, level_db, flux);
    follow_modulation(e, s);
    for (int lane = 0; lane < 4; lane++) {
        eh_note *note = &e->note[group * 4 + lane];
        const envelope_lane x = {e->step_rms + (size_t)group * EH_ENVELOPE_STEPS, lane};
        if (s->onset[lane] > 0.0f) {
            if (note->is_falling) {  // cut short by the next note
                const float fall_db = ratio_db(note->max_lin, rms_at(x, first_step - EH_STEPS_PER_HOP));
                if (fall_db >= 6.0f) end_fall(e, note, fall_db, first_step - EH_STEPS_PER_HOP - note->max_step);
            }
            begin_note(note, x, first_step);
        }
        if (note->is_rising | note->is_falling) follow_note(e, note, x, first_step);
    }
}

void eh_envelope_end_hop(eh_envelope *e) { e->n_hops++; }
