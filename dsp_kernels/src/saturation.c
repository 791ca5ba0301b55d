// Soft saturation, anti-aliased by first-order antiderivatives (Parker, Zavalishin, Le Bivic, DAFx 2016).
//
// The curve is f(v) = v - 2 v^3 / (3 L^2) + v^5 / (5 L^4) up to |v| = L = 15/8 and +/-1 beyond: slope 1 at 0, slope and
// curvature 0 at L. v = drive * x. Only the residual r = f - v is treated, so that what is small passes without delay:
//     a[n] = (R(v[n]) - R(v[n-1])) / (v[n] - v[n-1]),  y = x + mix/drive * ((a[n] + a[n-1]) / 2 + k (v - w))
// The mean of two frames has its zero at Nyquist, where the aliases of a few kHz fall. Both steps delay r by half a
// frame; where r is large that would leave a loud treble unsaturated, since v and what r takes from it no longer meet.
// So the part of r that is proportional to v, k = <r(v) v> / <v v> over some 10 ms, is taken without delay: w is v
// through the same two means.
//
// The quotient is not computed as it stands: float32 has no digits left when v[n] comes near v[n-1]. With c = v clamped
// to +/-L, e = |v - c|, it splits into two quotients of plain differences, exact when inputs are close,
//     (c1 - c0) / (v1 - v0) * D(c0, c1)  +  (e1 - e0) / (v1 - v0) * (r(L) - (e1 + e0) / 2),
// where D is the divided difference of the polynomial part of R, -v^4 / (6 L^2) + v^6 / (30 L^4), which is again a
// polynomial: (c1 + c0) (-(q1 + q0) / (6 L^2) + ((q1 + q0)^2 - q1 q0) / (30 L^4)) with q = c^2.
#include "bank.h"
#include "eh_ramps.h"
#include "evenhand/dynamics.h"
#include "gain_tick.h"
#include "ramp.h"
#include "units.h"

enum { GROUP = EH_LANES_PER_VECTOR, TICK = 16 };

#define LIMIT 1.875f
#define LIMIT_2 (LIMIT * LIMIT)
static const float QUARTIC = 1.0f / (6.0f * LIMIT_2);  // of -R
static const float SEXTIC = 1.0f / (30.0f * LIMIT_2 * LIMIT_2);
static const float RESIDUAL_AT_LIMIT = 1.0f - LIMIT;
static const float SAME = 1e-20f;         // steps under this are none
static const float PROPORTION_MS = 5.0f;  // of each of two one-poles
static const float POWER_MIN = 1e-12f;

// What each frame changes.
typedef struct {
    v4 clamped, excess, driven, sum, averaged;  // c, e, v, v[n] + v[n-1] and a of the frame before
    v4 proportion;                              // k
    v4 power, product;                          // sums of v v and r v since the last tick
} trail;

typedef struct {
    trail trail;
    v4 proportion_step, proportion_target;                      // per frame, and where it leads
    v4 mean_power, mean_product, smooth_power, smooth_product;  // after one and two one-poles
    v4 drive, drive_step;                                       // at the end of the ramp, and per frame
    v4 mix, mix_step;
    int32_t drive_left, mix_left;  // frames, one count per vector
    int32_t is_active, is_on;      // is_on: any lane
} state;

static state *group_of(const eh_saturation *s, int group) { return (state *)(void *)s->memory + group; }

static eh_saturation_params *params_of(const eh_saturation *s, int lane) {
    return (eh_saturation_params *)(void *)group_of(s, s->n_lanes / GROUP) + lane;
}

size_t eh_saturation_size_bytes(int n_lanes) {
    if (n_lanes <= 0) return 0;
    const size_t size_bytes = (size_t)n_lanes / GROUP * sizeof(state) + (size_t)n_lanes * sizeof(eh_saturation_params);
    return (size_bytes + 63) / 64 * 64;
}

eh_status eh_saturation_init(eh_saturation *s, float sample_rate_hz, int n_lanes, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    if (memory == NULL || (uintptr_t)memory % 64 != 0) return EH_ERR_ARGUMENT;
    *s = (eh_saturation){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes, .memory = memory};
    memset(memory, 0, eh_saturation_size_bytes(n_lanes));
    s->proportion_share = (float)(1.0 - eh_one_pole_coeff(PROPORTION_MS, sample_rate_hz / TICK));
    for (int group = 0; group < n_lanes / GROUP; group++) group_of(s, group)->drive = v4_set1(1.0f);
    eh_saturation_reset(s);
    return EH_OK;
}

static v4 now(v4 target, v4 step, int32_t left) { return v4_fnma(step, v4_set1((float)left), target); }

// Sets the end of a ramp of the whole vector, so that it starts where each lane is now.
static void ramp_to(v4 *target, v4 *step, int32_t *left, v4 to, float ramp_ms, float sample_rate_hz) {
    const v4 from = now(*target, *step, *left);
    *left = eh_ramp_frames(ramp_ms, sample_rate_hz);
    *target = to;
    *step = (to - from) / (float)*left;
}

void eh_saturation_set(eh_saturation *s, int lane, const eh_saturation_params *p) {
    eh_saturation_params *last = params_of(s, lane);
    if (memcmp(last, p, sizeof *p) == 0) return;
    const int i = lane % GROUP, is_switched = (last->is_on != 0.0f) != (p->is_on != 0.0f);
    state *g = group_of(s, lane / GROUP);
    *last = *p;
    v4 drive = g->drive, mix = g->mix;
    drive[i] = (float)eh_db_to_lin(p->drive_db);
    mix[i] = p->is_on != 0.0f ? p->mix_percent * 0.01f : 0.0f;
    g->is_on = 0;
    for (int l = lane - i; l < lane - i + GROUP; l++) g->is_on |= params_of(s, l)->is_on != 0.0f;
    if (drive[i] != g->drive[i])
        ramp_to(&g->drive, &g->drive_step, &g->drive_left, drive, EH_SATURATION_DRIVE_DB_RAMP_MS, s->sample_rate_hz);
    if (!g->is_active) g->drive_left = 0;
    if (mix[i] != g->mix[i])
        ramp_to(&g->mix, &g->mix_step, &g->mix_left, mix,
                is_switched ? EH_SATURATION_IS_ON_RAMP_MS : EH_SATURATION_MIX_PERCENT_RAMP_MS, s->sample_rate_hz);
    if (g->is_on) g->is_active = 1;
}

static void forget(state *g, int i) {
    trail *t = &g->trail;
    t->clamped[i] = t->excess[i] = t->driven[i] = t->sum[i] = t->averaged[i] = 0.0f;
    t->proportion[i] = t->power[i] = t->product[i] = 0.0f;
    g->proportion_step[i] = g->proportion_target[i] = 0.0f;
    g->mean_product[i] = g->smooth_product[i] = 0.0f;
    g->mean_power[i] = g->smooth_power[i] = POWER_MIN;
}

void eh_saturation_reset(eh_saturation *s) {
    s->phase = 0;
    for (int group = 0; group < s->n_lanes / GROUP; group++) {
        state *g = group_of(s, group);
        for (int i = 0; i < GROUP; i++) forget(g, i);
        g->drive_left = g->mix_left = 0;
        g->is_active = g->is_on;
    }
}

void eh_saturation_reset_lane(eh_saturation *s, int lane) { forget(group_of(s, lane / GROUP), lane % GROUP); }

// What is added to v, for one frame.
static inline v4 residual(trail *s, v4 v, v4 proportion_step) {
    const v4 limit = v4_set1(LIMIT), one = v4_set1(1.0f);
    const v4 clamped = v4_min(v4_max(v, -limit), limit), beyond = v - clamped, excess = v4_abs(beyond);
    const v4 way = v - s->driven;
    const v4i is_same = v4_abs(way)<SAME, is_outside = excess> 0.0f;
    const v4 per_way = one / v4_select(is_same, one, way);
    const v4 sign = (v4)(((v4i)v & (v4i)v4_set1(-0.0f)) | (v4i)one);
    const v4 inside_share = v4_select(is_same, (v4)((v4i)one & ~is_outside), (clamped - s->clamped) * per_way);
    const v4 outside_share = v4_select(is_same, (v4)((v4i)sign & is_outside), (excess - s->excess) * per_way);

    const v4 q1 = clamped * clamped, q0 = s->clamped * s->clamped, q = q1 + q0;
    const v4 d = (clamped + s->clamped) * v4_fnma(v4_set1(QUARTIC), q, v4_fnma(q1, q0, q * q) * SEXTIC);
    const v4 e = v4_fnma(v4_set1(0.5f), excess + s->excess, v4_set1(RESIDUAL_AT_LIMIT));
    const v4 averaged = v4_fma(outside_share, e, inside_share * d);

    const v4 inner = v4_fma(q1, v4_set1(6.0f * SEXTIC), v4_set1(-4.0f * QUARTIC)) * q1;
    s->product = v4_fma(v, v4_fma(clamped, inner, -beyond), s->product);
    s->power = v4_fma(v, v, s->power);

    const v4 sum = v + s->driven, lag = v4_fnma(v4_set1(0.25f), sum + s->sum, v);
    const v4 result = v4_fma(s->proportion, lag, (averaged + s->averaged) * 0.5f);
    s->proportion += proportion_step;
    s->clamped = clamped, s->excess = excess, s->driven = v, s->sum = sum, s->averaged = averaged;
    return result;
}

static void follow_proportion(state *s, float share) {
    trail *t = &s->trail;
    // The added constants keep both means, and so the quotient, out of the denormals.
    const v4 power = v4_fma(t->power, v4_set1(1.0f / TICK), v4_set1(POWER_MIN));
    const v4 product = v4_fma(t->product, v4_set1(1.0f / TICK), v4_set1(-POWER_MIN * POWER_MIN));
    t->power = t->product = v4_set1(0.0f);
    const v4 part = v4_set1(share);
    s->mean_power = v4_fma(part, power - s->mean_power, s->mean_power);
    s->mean_product = v4_fma(part, product - s->mean_product, s->mean_product);
    s->smooth_power = v4_fma(part, s->mean_power - s->smooth_power, s->smooth_power);
    s->smooth_product = v4_fma(part, s->mean_product - s->smooth_product, s->smooth_product);
    t->proportion = s->proportion_target;
    s->proportion_target = s->smooth_product / s->smooth_power;
    s->proportion_step = (s->proportion_target - t->proportion) * (1.0f / TICK);
}

static void run_ramping(state *s, const float *x, float *y, size_t stride, size_t n_frames) {
    trail t = s->trail;
    for (size_t n = 0; n < n_frames; n++, x += stride, y += stride) {
        if (s->drive_left > 0) s->drive_left--;
        if (s->mix_left > 0) s->mix_left--;
        const v4 in = v4_load(x), drive = now(s->drive, s->drive_step, s->drive_left);
        const v4 depth = now(s->mix, s->mix_step, s->mix_left) / drive;
        v4_store(y, v4_fma(depth, residual(&t, drive * in, s->proportion_step), in));
    }
    s->trail = t;
}

static void run_steady(state *s, const float *x, float *y, size_t stride, size_t n_frames) {
    trail t = s->trail;
    const v4 drive = s->drive, depth = s->mix / drive, proportion_step = s->proportion_step;
    for (size_t n = 0; n < n_frames; n++, x += stride, y += stride) {
        const v4 in = v4_load(x);
        v4_store(y, v4_fma(depth, residual(&t, drive * in, proportion_step), in));
    }
    s->trail = t;
}

// Frames to the next event: a tick, or the end of a ramp.
static inline size_t frames_ahead(const state *s, int phase, size_t n_frames) {
    size_t n = (size_t)(TICK - phase);
    if (s->drive_left > 0 && (size_t)s->drive_left < n) n = (size_t)s->drive_left;
    if (s->mix_left > 0 && (size_t)s->mix_left < n) n = (size_t)s->mix_left;
    return n < n_frames ? n : n_frames;
}

static void run_group(state *g, float share, int phase, const float *x, float *y, size_t stride, size_t n_frames) {
    while (n_frames > 0 && g->is_active) {
        const size_t n = frames_ahead(g, phase, n_frames);
        (g->drive_left > 0 || g->mix_left > 0 ? run_ramping : run_steady)(g, x, y, stride, n);
        phase = (phase + (int)n) % TICK;
        if (phase == 0) follow_proportion(g, share);
        x += n * stride, y += n * stride, n_frames -= n;
        g->is_active = g->is_on || g->mix_left > 0;
    }
    if (g->is_active) return;
    for (int i = 0; i < GROUP; i++) forget(g, i);
    g->drive_left = 0;
    eh_copy_group(x, y, stride, n_frames);
}

void eh_saturation_process(eh_saturation *s, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)s->n_lanes;
    for (int group = 0; group < s->n_lanes / GROUP; group++, in += GROUP, out += GROUP) {
        state *g = group_of(s, group);
        if (g->is_active)
            run_group(g, s->proportion_share, s->phase, in, out, stride, n_frames);
        else
            eh_copy_group(in, out, stride, n_frames);
    }
    s->phase = (int32_t)((s->phase + n_frames) % TICK);
}
