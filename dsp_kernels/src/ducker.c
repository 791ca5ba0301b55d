// Ducker: one key lowers many lanes. What it does when: ducker.h.
#include "evenhand/ducker.h"

#include "bank.h"
#include "gain_tick.h"
#include "ramp.h"
#include "units.h"

enum { GROUP = EH_LANES_PER_VECTOR, TICK = 16 };

static const float DETECTOR_MS = 10.0f;
static const double OPEN = 1e-6;      // amounts under this are none: 0.00003 dB of 30 dB
static const float POWER_MAX = 1e6f;  // +60 dBFS: as which a NaN or an Inf counts
static const double POWER_MIN = 1e-18;

static double ticks_hz(const eh_ducker *d) { return d->sample_rate_hz / TICK; }

static double share_per_tick(const eh_ducker *d, double tau_ms) { return 1.0 - eh_one_pole_coeff(tau_ms, ticks_hz(d)); }

eh_status eh_ducker_init(eh_ducker *d, float sample_rate_hz, int n_lanes) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    *d = (eh_ducker){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes};
    d->detector_share = share_per_tick(d, DETECTOR_MS);
    const eh_ducker_params p = {.threshold_dbfs = -45.0f, .attack_ms = 50.0f, .hold_ms = 400.0f, .release_ms = 800.0f};
    eh_ducker_set(d, &p);
    eh_ducker_reset(d);
    return EH_OK;
}

void eh_ducker_set(eh_ducker *d, const eh_ducker_params *p) {
    if (memcmp(&d->params, p, sizeof *p) == 0) return;
    d->params = *p;
    d->threshold_power = eh_exp2(2.0 * p->threshold_dbfs / EH_DB_PER_LOG2);
    d->attack_share = share_per_tick(d, p->attack_ms);
    d->release_share = share_per_tick(d, p->release_ms);
    d->hold_ticks = (int32_t)(p->hold_ms * 0.001 * ticks_hz(d) + 0.5);
}

void eh_ducker_set_depth(eh_ducker *d, int lane, float depth_db, float ramp_ms) {
    const float depth_log2 = (float)(depth_db / EH_DB_PER_LOG2);
    if (depth_log2 == d->depth_log2[lane]) return;
    const float now_log2 = d->depth_log2[lane] - d->depth_step_log2[lane] * d->depth_left[lane];
    const int32_t n_ticks = eh_ramp_frames(ramp_ms, (float)ticks_hz(d));
    d->depth_log2[lane] = depth_log2;
    d->depth_step_log2[lane] = (depth_log2 - now_log2) / (float)n_ticks;
    d->depth_left[lane] = (float)n_ticks;
    d->is_any_depth_moving = 1;
}

void eh_ducker_reset(eh_ducker *d) {
    d->phase = 0;
    d->hold_left = 0;
    d->key_sum = 0.0f;
    d->key_power = POWER_MIN;
    d->amount = 0.0;
    for (int lane = 0; lane < EH_MAX_LANES; lane++) {
        d->depth_left[lane] = d->step_lin[lane] = 0.0f;
        d->gain_lin[lane] = d->target_lin[lane] = 1.0f;
    }
    memset(d->is_active, 0, sizeof d->is_active);
    d->is_any_active = d->is_any_depth_moving = 0;
}

static void follow_key(eh_ducker *d) {
    const float mean = d->key_sum * (1.0f / TICK);
    const double power = (mean < POWER_MAX ? mean : POWER_MAX) + POWER_MIN;
    d->key_sum = 0.0f;
    d->key_power += d->detector_share * (power - d->key_power);
    const int is_sounding = d->key_power >= d->threshold_power;
    const int is_down = is_sounding || d->hold_left > 0;
    if (is_sounding)
        d->hold_left = d->hold_ticks;
    else if (d->hold_left > 0)
        d->hold_left--;
    if (is_down)
        d->amount += d->attack_share * (1.0 - d->amount);
    else
        d->amount -= d->release_share * d->amount;
    if (!is_down && d->amount < OPEN) d->amount = 0.0;
}

// Open, with every depth arrived: each tick would give all lanes a gain of one again.
static int is_at_rest(const eh_ducker *d) { return d->amount == 0.0 && !d->is_any_active && !d->is_any_depth_moving; }

static void tick(eh_ducker *d) {
    follow_key(d);
    if (is_at_rest(d)) return;
    v4i moving = {0}, active = {0};
    const v4 amount = v4_set1((float)d->amount), one = v4_set1(1.0f);
    for (int lane = 0; lane < d->n_lanes; lane += GROUP) {
        const v4 left = v4_max(v4_load(d->depth_left + lane) - 1.0f, v4_set1(0.0f));
        const v4 depth = v4_fnma(v4_load(d->depth_step_log2 + lane), left, v4_load(d->depth_log2 + lane));
        const v4 gain = v4_load(d->target_lin + lane), target = v4_exp2(-amount * depth);
        v4_store(d->depth_left + lane, left);
        v4_store(d->gain_lin + lane, gain);
        v4_store(d->target_lin + lane, target);
        v4_store(d->step_lin + lane, (target - gain) * (1.0f / TICK));
        const v4i is_active = (gain != one) | (target != one);
        d->is_active[lane / GROUP] = v4_any(is_active);
        active |= is_active;
        moving |= left > 0.0f;
    }
    d->is_any_active = v4_any(active);
    d->is_any_depth_moving = v4_any(moving);
}

static void run_group(eh_ducker *d, int lane, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)d->n_lanes;
    const v4 step = v4_load(d->step_lin + lane);
    v4 gain = v4_load(d->gain_lin + lane);
    for (size_t n = 0; n < n_frames; n++, in += stride, out += stride) {
        v4_store(out, v4_load(in) * gain);
        gain += step;
    }
    v4_store(d->gain_lin + lane, gain);
}

void eh_ducker_process(eh_ducker *d, const float *key, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)d->n_lanes;
    while (n_frames > 0) {
        const size_t to_tick = (size_t)(TICK - d->phase), n_span = n_frames < to_tick ? n_frames : to_tick;
        if (key) {
            float sum = d->key_sum;
            for (size_t n = 0; n < n_span; n++) sum += key[n] * key[n];
            d->key_sum = sum;
            key += n_span;
        }
        for (int lane = 0; lane < d->n_lanes && (d->is_any_active || in != out); lane += GROUP) {
            if (d->is_active[lane / GROUP])
                run_group(d, lane, in + lane, out + lane, n_span);
            else
                eh_copy_group(in + lane, out + lane, stride, n_span);
        }
        d->phase = (d->phase + (int)n_span) % TICK;
        if (d->phase == 0) tick(d);
        in += n_span * stride, out += n_span * stride, n_frames -= n_span;
    }
}

float eh_ducker_gain_db(const eh_ducker *d, int lane) { return (float)eh_lin_to_db(d->gain_lin[lane]); }
