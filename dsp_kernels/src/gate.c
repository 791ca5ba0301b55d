// Gate and downward expander. The formulas of the detector and the curve: dynamics.h.
#include "bank.h"
#include "eh_ramps.h"
#include "evenhand/dynamics.h"
#include "gain_tick.h"
#include "units.h"

enum { GROUP = EH_LANES_PER_VECTOR, TICK = EH_TICK };

static const float DETECTOR_FALL_MS = 10.0f;
static const float HYSTERESIS_DB = 3.0f;
static const float RANGE_KNEE_DB = 6.0f;
static const float TAUS_PER_RAMP = 7.0f;  // a one-pole is within 0.1 % (-60 dB) after seven time constants

static float share_per_tick(const eh_gate *g, double tau_ms) {
    return (float)(1.0 - eh_one_pole_coeff(tau_ms, g->sample_rate_hz / TICK));
}

static void forget(eh_gate *g, int lane) {
    g->hold_left[lane] = -1.0f;
    g->peak_bits[lane] = 0;
    g->envelope_lin[lane] = EH_LEVEL_MIN_LIN;
    g->gain_lin[lane] = g->target_lin[lane] = 1.0f;
    g->step_lin[lane] = g->rest_lin[lane] = 0.0f;
}

static int is_any_on(const eh_gate *g, int group) {
    const float *on = g->is_on + group * GROUP;
    return on[0] + on[1] + on[2] + on[3] > 0.0f;
}

eh_status eh_gate_init(eh_gate *g, float sample_rate_hz, int n_lanes) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    *g = (eh_gate){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes};
    g->detector_decay = (float)eh_one_pole_coeff(DETECTOR_FALL_MS, sample_rate_hz / TICK);
    const eh_gate_params off = {.ratio = 1.0f};
    for (int lane = 0; lane < EH_MAX_LANES; lane++) eh_gate_set(g, lane, &off);
    eh_gate_reset(g);
    return EH_OK;
}

void eh_gate_link(eh_gate *g, int even_lane, int is_linked) {
    g->is_linked[even_lane] = g->is_linked[even_lane + 1] = is_linked ? -1 : 0;
}

void eh_gate_set(eh_gate *g, int lane, const eh_gate_params *p) {
    if (memcmp(&g->params[lane], p, sizeof *p) == 0) return;
    g->params[lane] = *p;
    const int is_on = p->is_on != 0.0f && p->range_db > 0.0f && p->ratio > 1.0f;
    const double range_log2 = is_on ? p->range_db / EH_DB_PER_LOG2 : 1.0;
    double knee_log2 = RANGE_KNEE_DB / EH_DB_PER_LOG2;
    if (knee_log2 > 2.0 * range_log2) knee_log2 = 2.0 * range_log2;
    g->is_on[lane] = is_on ? 1.0f : 0.0f;
    g->threshold_log2[lane] = (float)(p->threshold_dbfs / EH_DB_PER_LOG2);
    g->slope[lane] = is_on ? p->ratio - 1.0f : 0.0f;
    g->knee_start_log2[lane] = (float)(range_log2 - 0.5 * knee_log2);
    g->knee_log2[lane] = (float)knee_log2;
    g->knee_scale[lane] = (float)(0.5 / knee_log2);
    g->hold_ticks[lane] = (float)(int32_t)(p->hold_ms * 0.001f * g->sample_rate_hz / TICK + 0.5f);
    g->attack_share[lane] = share_per_tick(g, is_on ? p->attack_ms : EH_GATE_IS_ON_RAMP_MS / TAUS_PER_RAMP);
    g->release_share[lane] = share_per_tick(g, p->release_ms);
    if (is_on) g->is_active[lane / GROUP] = 1;
}

void eh_gate_reset(eh_gate *g) {
    g->phase = 0;
    for (int lane = 0; lane < EH_MAX_LANES; lane++) forget(g, lane);
    for (int group = 0; group < EH_MAX_LANES / GROUP; group++) g->is_active[group] = is_any_on(g, group);
}

void eh_gate_reset_lane(eh_gate *g, int lane) { forget(g, lane); }

// Level of each tick, in place of its peak.
static inline void detect(eh_gate *g, int lane, v4 *ticks, int n_ticks) {
    const v4 decay = v4_set1(g->detector_decay);
    v4 level = v4_load(g->envelope_lin + lane);
    for (int k = 0; k < n_ticks; k++) {
        const v4i peak = eh_level_bounded((v4i)ticks[k]);
        level = (v4)v4i_max(peak, (v4i)(level * decay));
        ticks[k] = v4_log2(level);
    }
    v4_store(g->envelope_lin + lane, level);
}

// The gain that the gate wants, in place of the level. In log2, with n = slope * (level - threshold):
//   n down to the knee, n + (knee start - n)^2 / (2 width) inside, then minus the range
static inline void close(eh_gate *g, int lane, v4 *ticks, int n_ticks) {
    const v4 threshold = v4_load(g->threshold_log2 + lane), slope = v4_load(g->slope + lane);
    const v4 knee = v4_load(g->knee_log2 + lane), knee_scale = v4_load(g->knee_scale + lane);
    const v4 knee_start = -v4_load(g->knee_start_log2 + lane), least = knee_start - knee;
    const v4 hold = v4_load(g->hold_ticks + lane);
    v4 hold_left = v4_load(g->hold_left + lane);
    for (int k = 0; k < n_ticks; k++) {
        const v4 over = ticks[k] - threshold;
        const v4i is_above_close = over >= (float)(-HYSTERESIS_DB / EH_DB_PER_LOG2);
        const v4i is_kept = (over >= 0.0f) | (is_above_close & (hold_left >= 0.0f));
        hold_left = v4_select(is_kept, hold, v4_max(hold_left - 1.0f, v4_set1(-1.0f)));
        const v4 n = (v4)((v4i)(over * slope) & (hold_left < 0.0f));
        const v4 t = v4_min(v4_max(knee_start - n, v4_set1(0.0f)), knee);
        ticks[k] = v4_exp2(v4_fma(t * t, knee_scale, v4_max(n, least)));
    }
    v4_store(g->hold_left + lane, hold_left);
}

static inline void smooth(eh_gate *g, int lane, v4 *ticks, int n_ticks) {
    const v4 attack = v4_load(g->attack_share + lane), release = v4_load(g->release_share + lane);
    v4 gain = v4_load(g->target_lin + lane), rest = v4_load(g->rest_lin + lane);
    for (int k = 0; k < n_ticks; k++) {
        gain = eh_approach(gain, &rest, ticks[k], v4_select(ticks[k] > gain, attack, release));
        ticks[k] = gain;
    }
    v4_store(g->rest_lin + lane, rest);
}

static void run_group(eh_gate *g, int lane, int phase, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)g->n_lanes;
    v4 ticks[EH_MAX_TICKS];
    v4i running = v4i_load(g->peak_bits + lane);
    const int n_ticks = eh_peaks_collect(in, stride, n_frames, phase, &running, NULL, (v4i *)ticks);
    v4i_store(g->peak_bits + lane, running);
    eh_line line = {v4_load(g->gain_lin + lane), v4_load(g->step_lin + lane), v4_load(g->target_lin + lane)};
    eh_peaks_link((v4i *)ticks, n_ticks, v4i_load(g->is_linked + lane));
    detect(g, lane, ticks, n_ticks);
    close(g, lane, ticks, n_ticks);
    smooth(g, lane, ticks, n_ticks);
    eh_line_apply(&line, ticks, in, out, stride, n_frames, phase);
    v4_store(g->gain_lin + lane, line.gain);
    v4_store(g->step_lin + lane, line.step);
    v4_store(g->target_lin + lane, line.target);
}

static void rest_if_settled(eh_gate *g, int group) {
    if (is_any_on(g, group)) return;
    const int first = group * GROUP;
    for (int lane = first; lane < first + GROUP; lane++)
        if (g->target_lin[lane] != 1.0f || g->step_lin[lane] != 0.0f) return;
    for (int lane = first; lane < first + GROUP; lane++) forget(g, lane);
    g->is_active[group] = 0;
}

static void process_block(eh_gate *g, const float *in, float *out, size_t n_frames) {
    for (int group = 0; group < g->n_lanes / GROUP; group++) {
        const int lane = group * GROUP;
        if (!g->is_active[group]) {
            eh_copy_group(in + lane, out + lane, (size_t)g->n_lanes, n_frames);
            continue;
        }
        run_group(g, lane, g->phase, in + lane, out + lane, n_frames);
        rest_if_settled(g, group);
    }
    g->phase = (int32_t)((g->phase + n_frames) % TICK);
}

void eh_gate_process(eh_gate *g, const float *in, float *out, size_t n_frames) {
    while (n_frames > 0) {
        const size_t n_block = n_frames < EH_MAX_BLOCK_FRAMES ? n_frames : EH_MAX_BLOCK_FRAMES;
        process_block(g, in, out, n_block);
        in += n_block * (size_t)g->n_lanes, out += n_block * (size_t)g->n_lanes, n_frames -= n_block;
    }
}

float eh_gate_gain_db(const eh_gate *g, int lane) { return (float)eh_lin_to_db(g->gain_lin[lane]); }
