// Compressor, with parameters by hand or from the signal. The formulas: dynamics.h.
#include "bank.h"
#include "eh_ramps.h"
#include "evenhand/dynamics.h"
#include "gain_tick.h"
#include "ramp.h"
#include "units.h"

enum { GROUP = EH_LANES_PER_VECTOR, TICK = EH_TICK, RENEWAL = 32 };

static const float CREST_MS = 200.0f;
static const float AVERAGE_MS = 2000.0f;
static const float AVERAGE_MAX_DB = 12.0f;
static const float KNEE_PER_AVERAGE = 2.5f;
static const float KNEE_MIN_LOG2 = 0.001f;
static const float ATTACK_MIN_MS = 0.1f, ATTACK_MIN_TICKS = 1.2f;  // 1.2: as far as v4_covered goes
static const float RELEASE_MIN_MS = 5.0f;
static const float SINE_CREST_POWER = 2.0f;  // under it the time constants would leave the range
static const float POWER_MIN = 1e-12f;
static const float REDUCTION_MIN_LOG2 = 1e-12f;  // in place of 0, towards which it would decay through denormals

// One vector of lanes. What the hot loop changes comes first.
typedef struct {
    eh_line line;
    v4 held, held_rest;            // reduction after the release stage, log2
    v4 reduction, reduction_rest;  // and after the attack stage
    v4i peak;
    v4 makeup_left, mix_left;  // ticks to the end of the ramp
    v4i renewal_peak;          // peak and power since the last renewal
    v4 renewal_power;
    // in force
    v4 knee_start, knee, knee_scale, slope, attack_share, release_share;
    v4 makeup, makeup_step, mix, mix_step;  // at the end of the ramp, and per tick
    // automatic
    v4i is_automatic, is_linked;
    v4 threshold, makeup_by_hand;
    v4 attack_rate, attack_rate_min, attack_rate_max;  // of one-poles: 1 / (tau_ticks ln 2), per C^2
    v4 release_rate, release_rate_min, release_rate_max;
    v4 peak_power, mean_power, average, average_rest;
} state;

static state *group_of(const eh_compressor *c, int group) { return (state *)(void *)c->memory + group; }

static eh_compressor_params *params_of(const eh_compressor *c, int lane) {
    return (eh_compressor_params *)(void *)group_of(c, c->n_lanes / GROUP) + lane;
}

static size_t whole_lines(size_t size_bytes) { return (size_bytes + 63) / 64 * 64; }

size_t eh_compressor_size_bytes(int n_lanes) {
    if (n_lanes <= 0) return 0;
    return whole_lines((size_t)n_lanes / GROUP * sizeof(state) + (size_t)n_lanes * sizeof(eh_compressor_params));
}

static void start_measuring(eh_compressor *c, int lane) {
    state *s = group_of(c, lane / GROUP);
    const int i = lane % GROUP;
    const eh_compressor_params *p = params_of(c, lane);
    s->renewal_peak[i] = 0;
    s->renewal_power[i] = 0.0f;
    s->peak_power[i] = s->mean_power[i] = POWER_MIN;
    s->average[i] = (float)(-0.5 * p->threshold_dbfs / EH_DB_PER_LOG2 * (1.0 - 1.0 / p->ratio));
    s->average_rest[i] = 0.0f;
}

// The automatic knee and make-up of lanes that have them. Returns with the other lanes as they were.
static inline void follow_average(state *s) {
    const v4 average = v4_min(s->average, v4_set1((float)(AVERAGE_MAX_DB / EH_DB_PER_LOG2)));
    const v4 knee = v4_max(average * KNEE_PER_AVERAGE, v4_set1(KNEE_MIN_LOG2));
    s->knee = v4_select(s->is_automatic, knee, s->knee);
    s->knee_scale = v4_select(s->is_automatic, 0.5f / knee, s->knee_scale);
    s->knee_start = v4_select(s->is_automatic, v4_fnma(knee, v4_set1(0.5f), s->threshold), s->knee_start);
    s->makeup = v4_select(s->is_automatic, s->makeup_by_hand + average, s->makeup);
}

static inline void follow_crest(state *s) {
    const v4 crest_power = v4_max(s->peak_power / s->mean_power, v4_set1(SINE_CREST_POWER));
    const v4 attack = v4_min(v4_max(crest_power * s->attack_rate, s->attack_rate_min), s->attack_rate_max);
    const v4 release = v4_min(v4_max(crest_power * s->release_rate, s->release_rate_min), s->release_rate_max);
    s->attack_share = v4_select(s->is_automatic, v4_covered(attack), s->attack_share);
    s->release_share = v4_select(s->is_automatic, v4_covered(release), s->release_share);
}

static void forget(eh_compressor *c, int lane) {
    state *s = group_of(c, lane / GROUP);
    const int i = lane % GROUP;
    s->held[i] = s->reduction[i] = REDUCTION_MIN_LOG2;
    s->held_rest[i] = s->reduction_rest[i] = 0.0f;
    s->peak[i] = 0;
    s->makeup_left[i] = s->mix_left[i] = 0.0f;
    start_measuring(c, lane);
    follow_average(s);
    follow_crest(s);
    const v4 gain = v4_fma(s->mix, v4_exp2(s->makeup) - 1.0f, v4_set1(1.0f));
    s->line.gain[i] = s->line.target[i] = gain[i];
    s->line.step[i] = 0.0f;
}

eh_status eh_compressor_init(eh_compressor *c, float sample_rate_hz, int n_lanes, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    if (memory == NULL || (uintptr_t)memory % 64 != 0) return EH_ERR_ARGUMENT;
    *c = (eh_compressor){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes, .memory = memory};
    memset(memory, 0, eh_compressor_size_bytes(n_lanes));
    const double renewals_hz = sample_rate_hz / RENEWAL;
    c->crest_share = (float)(1.0 - eh_one_pole_coeff(CREST_MS, renewals_hz));
    c->average_share = (float)(1.0 - eh_one_pole_coeff(AVERAGE_MS, renewals_hz));
    const eh_compressor_params off = {.ratio = 1.0f, .attack_ms = 10.0f, .release_ms = 100.0f};
    for (int lane = 0; lane < n_lanes; lane++) eh_compressor_set(c, lane, &off);
    eh_compressor_reset(c);
    return EH_OK;
}

void eh_compressor_link(eh_compressor *c, int even_lane, int is_linked) {
    state *s = group_of(c, even_lane / GROUP);
    s->is_linked[even_lane % GROUP] = s->is_linked[even_lane % GROUP + 1] = is_linked ? -1 : 0;
}

// Sets the end of a ramp so that it starts where the value is now.
static void ramp_to(v4 *target, v4 *step, v4 *left, int i, float to, float now, float ramp_ms, float ticks_hz) {
    const int32_t n_ticks = eh_ramp_frames(ramp_ms, ticks_hz);
    (*target)[i] = to;
    (*step)[i] = (to - now) / (float)n_ticks;
    (*left)[i] = (float)n_ticks;
}

// 1 / (tau_ticks ln 2)
static float rate_of(double tau_ms, double ticks_hz) { return (float)(1000.0 / (tau_ms * ticks_hz * EH_LN2)); }

static void set_time_constants(state *s, int i, const eh_compressor_params *p, double ticks_hz) {
    const double shortest_ms = ATTACK_MIN_TICKS * 1000.0 / ticks_hz;
    const double attack_min_ms = ATTACK_MIN_MS > shortest_ms ? ATTACK_MIN_MS : shortest_ms;
    const double release_max_ms = p->release_ms > RELEASE_MIN_MS ? p->release_ms : RELEASE_MIN_MS;
    const double attack_max_ms = p->attack_ms > attack_min_ms ? p->attack_ms : attack_min_ms;
    const double spread_ms = release_max_ms - attack_max_ms;  // release = (2 release_ms - 2 attack_ms) / C^2
    s->attack_rate[i] = rate_of(2.0 * attack_max_ms, ticks_hz);
    s->attack_rate_min[i] = rate_of(attack_max_ms, ticks_hz);
    s->attack_rate_max[i] = rate_of(attack_min_ms, ticks_hz);
    s->release_rate[i] = rate_of(2.0 * (spread_ms > RELEASE_MIN_MS ? spread_ms : RELEASE_MIN_MS), ticks_hz);
    s->release_rate_min[i] = rate_of(release_max_ms, ticks_hz);
    s->release_rate_max[i] = rate_of(RELEASE_MIN_MS > shortest_ms ? RELEASE_MIN_MS : shortest_ms, ticks_hz);
    s->attack_share[i] = (float)(1.0 - eh_one_pole_coeff(p->attack_ms, ticks_hz));
    s->release_share[i] = (float)(1.0 - eh_one_pole_coeff(p->release_ms, ticks_hz));
}

void eh_compressor_set(eh_compressor *c, int lane, const eh_compressor_params *p) {
    eh_compressor_params *last = params_of(c, lane);
    if (memcmp(last, p, sizeof *p) == 0) return;
    state *s = group_of(c, lane / GROUP);
    const int i = lane % GROUP, was_automatic = s->is_automatic[i] != 0, was_on = last->is_on != 0.0f;
    const int is_automatic = p->is_automatic != 0.0f, is_on = p->is_on != 0.0f;
    const float ticks_hz = c->sample_rate_hz / TICK;
    const float makeup_now = s->makeup[i] - s->makeup_step[i] * s->makeup_left[i];
    const float mix_now = s->mix[i] - s->mix_step[i] * s->mix_left[i], mix_before = s->mix[i];
    const float makeup_before = s->makeup_by_hand[i];
    *last = *p;

    const double knee_log2 = p->knee_db / EH_DB_PER_LOG2;
    s->threshold[i] = (float)(p->threshold_dbfs / EH_DB_PER_LOG2);
    s->knee[i] = knee_log2 > KNEE_MIN_LOG2 ? (float)knee_log2 : KNEE_MIN_LOG2;
    s->knee_scale[i] = 0.5f / s->knee[i];
    s->knee_start[i] = s->threshold[i] - 0.5f * s->knee[i];
    s->slope[i] = (float)(1.0 - 1.0 / p->ratio);
    s->makeup_by_hand[i] = (float)(p->makeup_db / EH_DB_PER_LOG2);
    s->is_automatic[i] = is_automatic ? -1 : 0;
    set_time_constants(s, i, p, ticks_hz);
    if (is_automatic && !was_automatic) start_measuring(c, lane);
    if (!is_automatic) s->makeup[i] = s->makeup_by_hand[i];
    follow_average(s);
    follow_crest(s);

    if (is_automatic != was_automatic || s->makeup_by_hand[i] != makeup_before)
        ramp_to(&s->makeup, &s->makeup_step, &s->makeup_left, i, s->makeup[i], makeup_now,
                EH_COMPRESSOR_MAKEUP_DB_RAMP_MS, ticks_hz);
    if (is_on && !c->is_active[lane / GROUP]) {
        for (int l = lane - i; l < lane - i + GROUP; l++) forget(c, l);
        c->is_active[lane / GROUP] = 1;
    }
    const float mix = is_on ? p->mix_percent * 0.01f : 0.0f;
    if (mix != mix_before)
        ramp_to(&s->mix, &s->mix_step, &s->mix_left, i, mix, mix_now,
                is_on != was_on ? EH_COMPRESSOR_IS_ON_RAMP_MS : EH_COMPRESSOR_MIX_PERCENT_RAMP_MS, ticks_hz);
    c->is_automatic[lane / GROUP] = v4_any(s->is_automatic);
}

static int is_any_in(const eh_compressor *c, int group) {
    const state *s = group_of(c, group);
    for (int i = 0; i < GROUP; i++)
        if (params_of(c, group * GROUP + i)->is_on != 0.0f || s->mix_left[i] != 0.0f) return 1;
    return 0;
}

static void rest_if_out(eh_compressor *c, int group) {
    if (is_any_in(c, group)) return;
    const state *s = group_of(c, group);
    if (v4_any((s->line.target != 1.0f) | (s->line.step != 0.0f))) return;
    for (int lane = group * GROUP; lane < (group + 1) * GROUP; lane++) forget(c, lane);
    c->is_active[group] = 0;
}

void eh_compressor_reset(eh_compressor *c) {
    c->phase = 0;
    for (int lane = 0; lane < c->n_lanes; lane++) forget(c, lane);
    for (int group = 0; group < c->n_lanes / GROUP; group++) c->is_active[group] = is_any_in(c, group);
}

void eh_compressor_reset_lane(eh_compressor *c, int lane) { forget(c, lane); }

static inline v4 louder_power_of_pair(v4 power, v4i is_linked) {
    return v4_max(power, (v4)((v4i)v4_swap_pairs(power) & is_linked));
}

static void renew(const eh_compressor *c, state *s) {
    // A NaN or an Inf counts as +60 dBFS.
    const v4 most = v4_set1(EH_LEVEL_MAX_LIN * EH_LEVEL_MAX_LIN);
    v4 mean = s->renewal_power * (1.0f / RENEWAL);
    mean = louder_power_of_pair(v4_select(mean < most, mean, most), s->is_linked) + POWER_MIN;
    const v4 peak = v4_fma((v4)s->renewal_peak, (v4)s->renewal_peak, v4_set1(POWER_MIN));
    const v4 crest_share = v4_set1(c->crest_share);
    // The first sound after silence is its own mean: else its crest factor would seem to be 28 dB.
    s->mean_power =
        v4_select(s->mean_power < 2.0f * POWER_MIN, mean, v4_fma(crest_share, mean - s->mean_power, s->mean_power));
    s->peak_power = v4_max(v4_fma(crest_share, peak - s->peak_power, s->peak_power), peak);
    s->average = eh_approach(s->average, &s->average_rest, s->reduction, v4_set1(c->average_share));
    s->renewal_power = v4_set1(0.0f);
    s->renewal_peak = (v4i){0};
    follow_average(s);
    follow_crest(s);
}

// What the curve takes away, as log2, in place of the peak of each tick:
// slope * (L - T + W/2)^2 / (2 W) inside the knee, slope * (L - T) above.
static inline void bend(state *s, v4 *ticks, int n_ticks) {
    const v4 start = s->knee_start, knee = s->knee, scale = s->knee_scale, slope = s->slope;
    v4i loudest = s->renewal_peak;
    for (int k = 0; k < n_ticks; k++) {
        const v4i peak = eh_level_bounded((v4i)ticks[k]);
        loudest = v4i_max(loudest, peak);
        const v4 over = v4_max(v4_log2((v4)peak) - start, v4_set1(0.0f)), inside = v4_min(over, knee);
        const v4 bent = v4_fma(inside * inside, scale, over - inside);
        ticks[k] = v4_fma(bent, slope, v4_set1(REDUCTION_MIN_LOG2));
    }
    s->renewal_peak = loudest;
}

// Decoupled smooth peak detector: release, then attack.
static inline void smooth(state *s, v4 *ticks, int n_ticks) {
    const v4 attack = s->attack_share, release = s->release_share;
    v4 held = s->held, held_rest = s->held_rest, reduction = s->reduction, reduction_rest = s->reduction_rest;
    for (int k = 0; k < n_ticks; k++) {
        held = v4_max(eh_approach(held, &held_rest, ticks[k], release), ticks[k]);
        reduction = eh_approach(reduction, &reduction_rest, held, attack);
        ticks[k] = reduction;
    }
    s->held = held, s->held_rest = held_rest, s->reduction = reduction, s->reduction_rest = reduction_rest;
}

static inline v4 mixed(v4 makeup, v4 reduction, v4 mix) {
    return v4_fma(mix, v4_exp2(makeup - reduction) - 1.0f, v4_set1(1.0f));
}

static inline void make_up(state *s, v4 *ticks, int n_ticks) {
    const v4 makeup = s->makeup, makeup_step = s->makeup_step, mix = s->mix, mix_step = s->mix_step;
    const v4 zero = v4_set1(0.0f);
    v4 makeup_left = s->makeup_left, mix_left = s->mix_left;
    if (!v4_any((makeup_left > zero) | (mix_left > zero))) {
        for (int k = 0; k < n_ticks; k++) ticks[k] = mixed(makeup, ticks[k], mix);
        return;
    }
    for (int k = 0; k < n_ticks; k++) {
        makeup_left = v4_max(makeup_left - 1.0f, zero);
        mix_left = v4_max(mix_left - 1.0f, zero);
        ticks[k] = mixed(v4_fnma(makeup_step, makeup_left, makeup), ticks[k], v4_fnma(mix_step, mix_left, mix));
    }
    s->makeup_left = makeup_left, s->mix_left = mix_left;
}

static inline void run_ticks(state *s, v4 *power, const float *in, float *out, size_t stride, size_t n_frames,
                             int phase) {
    v4 ticks[EH_MAX_TICKS];
    const int n_ticks = eh_peaks_collect(in, stride, n_frames, phase, &s->peak, power, (v4i *)ticks);
    eh_peaks_link((v4i *)ticks, n_ticks, s->is_linked);
    bend(s, ticks, n_ticks);
    smooth(s, ticks, n_ticks);
    make_up(s, ticks, n_ticks);
    eh_line_apply(&s->line, ticks, in, out, stride, n_frames, phase);
}

static void run_by_hand(const eh_compressor *c, state *s, const float *in, float *out, size_t n_frames) {
    run_ticks(s, NULL, in, out, (size_t)c->n_lanes, n_frames, c->phase % TICK);
}

static void run_automatic(const eh_compressor *c, state *s, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)c->n_lanes;
    int phase = c->phase;
    while (n_frames > 0) {
        const size_t to_renewal = (size_t)(RENEWAL - phase), n_span = n_frames < to_renewal ? n_frames : to_renewal;
        run_ticks(s, &s->renewal_power, in, out, stride, n_span, phase % TICK);
        if (n_span == to_renewal) renew(c, s);
        phase = (phase + (int)n_span) % RENEWAL;
        in += n_span * stride, out += n_span * stride, n_frames -= n_span;
    }
}

static void process_block(eh_compressor *c, const float *in, float *out, size_t n_frames) {
    for (int group = 0; group < c->n_lanes / GROUP; group++, in += GROUP, out += GROUP) {
        if (!c->is_active[group]) {
            eh_copy_group(in, out, (size_t)c->n_lanes, n_frames);
            continue;
        }
        (c->is_automatic[group] ? run_automatic : run_by_hand)(c, group_of(c, group), in, out, n_frames);
        rest_if_out(c, group);
    }
    c->phase = (int32_t)((c->phase + n_frames) % RENEWAL);
}

void eh_compressor_process(eh_compressor *c, const float *in, float *out, size_t n_frames) {
    while (n_frames > 0) {
        const size_t n_block = n_frames < EH_MAX_BLOCK_FRAMES ? n_frames : EH_MAX_BLOCK_FRAMES;
        process_block(c, in, out, n_block);
        in += n_block * (size_t)c->n_lanes, out += n_block * (size_t)c->n_lanes, n_frames -= n_block;
    }
}

float eh_compressor_gain_db(const eh_compressor *c, int lane) {
    return (float)eh_lin_to_db(group_of(c, lane / GROUP)->line.gain[lane % GROUP]);
}
