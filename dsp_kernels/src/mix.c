// The mixing matrix: lanes into buses, every gain ramped.
#include "bank.h"
#include "evenhand/gain.h"
#include "ramp.h"
#include "simd.h"

enum { GROUP = EH_LANES_PER_VECTOR };

eh_status eh_mix_init(eh_mix *m, float sample_rate_hz, int n_lanes, int n_buses) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    if (n_buses <= 0 || n_buses > EH_MAX_BUSES || n_buses % GROUP != 0) return EH_ERR_ARGUMENT;
    *m = (eh_mix){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes, .n_buses = n_buses};
    return EH_OK;
}

static float gain_at(const eh_mix *m, int lane, int bus, int32_t left) {
    return m->target_lin[lane][bus] - m->step_lin[lane][bus] * (float)left;
}

float eh_mix_gain_lin(const eh_mix *m, int lane, int bus, size_t n_frames_ahead) {
    const int32_t left = m->ramp_left[lane];
    return gain_at(m, lane, bus, n_frames_ahead + 1 < (size_t)left ? left - (int32_t)n_frames_ahead - 1 : 0);
}

// Which bus vectors the group of a lane feeds, now or on the way there.
static void mark_active(eh_mix *m, int group) {
    uint32_t active = 0;
    for (int lane = group * GROUP; lane < (group + 1) * GROUP; lane++)
        for (int bus = 0; bus < m->n_buses; bus++) {
            const int is_moving = m->ramp_left[lane] > 0 && m->step_lin[lane][bus] != 0.0f;
            if (is_moving || m->target_lin[lane][bus] != 0.0f) active |= 1u << (bus / GROUP);
        }
    m->active[group] = active;
}

void eh_mix_set(eh_mix *m, int lane, const float *gain_lin, float ramp_ms) {
    const size_t size_bytes = (size_t)m->n_buses * sizeof(float);
    if (memcmp(m->target_lin[lane], gain_lin, size_bytes) == 0) return;
    const int32_t n_ramp = eh_ramp_frames(ramp_ms, m->sample_rate_hz);
    for (int bus = 0; bus < m->n_buses; bus++) {
        const float now_lin = gain_at(m, lane, bus, m->ramp_left[lane]);
        m->step_lin[lane][bus] = (gain_lin[bus] - now_lin) / (float)n_ramp;
    }
    memcpy(m->target_lin[lane], gain_lin, size_bytes);
    m->ramp_left[lane] = n_ramp;
    mark_active(m, lane / GROUP);
}

void eh_mix_reset(eh_mix *m) {
    memset(m->ramp_left, 0, sizeof m->ramp_left);
    for (int group = 0; group < m->n_lanes / GROUP; group++) mark_active(m, group);
}

static int is_ramping(const eh_mix *m, int group) {
    const int32_t *left = m->ramp_left + group * GROUP;
    return (left[0] | left[1] | left[2] | left[3]) != 0;
}

static inline v4 mix_four(v4 x, const v4 *gain, v4 sum) {
#if defined(__aarch64__)  // one instruction each, which compilers do not find in the general form
    sum = (v4)vfmaq_laneq_f32((float32x4_t)sum, (float32x4_t)gain[0], (float32x4_t)x, 0);
    sum = (v4)vfmaq_laneq_f32((float32x4_t)sum, (float32x4_t)gain[1], (float32x4_t)x, 1);
    sum = (v4)vfmaq_laneq_f32((float32x4_t)sum, (float32x4_t)gain[2], (float32x4_t)x, 2);
    return (v4)vfmaq_laneq_f32((float32x4_t)sum, (float32x4_t)gain[3], (float32x4_t)x, 3);
#else
    sum = v4_fma(__builtin_shufflevector(x, x, 0, 0, 0, 0), gain[0], sum);
    sum = v4_fma(__builtin_shufflevector(x, x, 1, 1, 1, 1), gain[1], sum);
    sum = v4_fma(__builtin_shufflevector(x, x, 2, 2, 2, 2), gain[2], sum);
    return v4_fma(__builtin_shufflevector(x, x, 3, 3, 3, 3), gain[3], sum);
#endif
}

static void mix_steady(const eh_mix *m, int group, int bus, const float *in, float *out, size_t n_frames) {
    const size_t in_stride = (size_t)m->n_lanes, out_stride = (size_t)m->n_buses;
    v4 gain[GROUP];
    for (int i = 0; i < GROUP; i++) gain[i] = v4_load(&m->target_lin[group * GROUP + i][bus]);
    in += group * GROUP;
    out += bus;
    for (size_t n = 0; n < n_frames; n++, in += in_stride, out += out_stride)
        v4_store(out, mix_four(v4_load(in), gain, v4_load(out)));
}

// Eight lanes at once: the bus is loaded and stored half as often. Same order of additions as one after the other.
static void mix_steady_pair(const eh_mix *m, int group_a, int group_b, int bus, const float *in, float *out,
                            size_t n_frames) {
    const size_t in_stride = (size_t)m->n_lanes, out_stride = (size_t)m->n_buses;
    v4 gain[2 * GROUP];
    for (int i = 0; i < GROUP; i++) {
        gain[i] = v4_load(&m->target_lin[group_a * GROUP + i][bus]);
        gain[GROUP + i] = v4_load(&m->target_lin[group_b * GROUP + i][bus]);
    }
    const float *a = in + group_a * GROUP, *b = in + group_b * GROUP;
    out += bus;
    EH_UNROLL(4)
    for (size_t n = 0; n < n_frames; n++, a += in_stride, b += in_stride, out += out_stride)
        v4_store(out, mix_four(v4_load(b), gain + GROUP, mix_four(v4_load(a), gain, v4_load(out))));
}

static void mix_ramping(const eh_mix *m, int group, int bus, const float *in, float *out, size_t n_frames) {
    const size_t in_stride = (size_t)m->n_lanes, out_stride = (size_t)m->n_buses;
    v4 target[GROUP], step[GROUP];
    int32_t left[GROUP];
    for (int i = 0; i < GROUP; i++) {
        target[i] = v4_load(&m->target_lin[group * GROUP + i][bus]);
        step[i] = v4_load(&m->step_lin[group * GROUP + i][bus]);
        left[i] = m->ramp_left[group * GROUP + i];
    }
    in += group * GROUP;
    out += bus;
    for (size_t n = 0; n < n_frames; n++, in += in_stride, out += out_stride) {
        v4 gain[GROUP];
        for (int i = 0; i < GROUP; i++) {
            if (left[i] > 0) left[i]--;
            gain[i] = v4_fnma(step[i], v4_set1((float)left[i]), target[i]);
        }
        v4_store(out, mix_four(v4_load(in), gain, v4_load(out)));
    }
}

static void advance_ramps(eh_mix *m, int group, size_t n_frames) {
    for (int lane = group * GROUP; lane < (group + 1) * GROUP; lane++) {
        int32_t *left = &m->ramp_left[lane];
        *left = (size_t)*left > n_frames ? *left - (int32_t)n_frames : 0;
    }
    if (!is_ramping(m, group)) mark_active(m, group);
}

// Two vectors of buses side by side.
#if EH_HAS_V8
typedef v8 wide;

static inline wide wide_load(const float *a, const float *b) { return v8_join(v4_load(a), v4_load(b)); }
static inline void wide_store(float *a, float *b, wide x) {
    v4_store(a, v8_low(x));
    v4_store(b, v8_high(x));
}
static inline wide wide_mix_four(const float *x, const wide *gain, wide sum) {
    for (int i = 0; i < GROUP; i++) sum = v8_fma((v8)_mm256_broadcast_ss(x + i), gain[i], sum);
    return sum;
}
#else
typedef struct {
    v4 half[2];
} wide;

static inline wide wide_load(const float *a, const float *b) { return (wide){{v4_load(a), v4_load(b)}}; }
static inline void wide_store(float *a, float *b, wide x) {
    v4_store(a, x.half[0]);
    v4_store(b, x.half[1]);
}
static inline wide wide_mix_four(const float *x, const wide *gain, wide sum) {
    const v4 in = v4_load(x), a[GROUP] = {gain[0].half[0], gain[1].half[0], gain[2].half[0], gain[3].half[0]};
    const v4 b[GROUP] = {gain[0].half[1], gain[1].half[1], gain[2].half[1], gain[3].half[1]};
    return (wide){{mix_four(in, a, sum.half[0]), mix_four(in, b, sum.half[1])}};
}
#endif

// A tile of frames stays in registers while all lanes pass by: each gain is loaded once for all of them.
enum { TILE_FRAMES = 8 };

static void mix_tile(const eh_mix *m, uint32_t groups, int bus, int other, const float *in, float *out) {
    const size_t in_stride = (size_t)m->n_lanes, out_stride = (size_t)m->n_buses;
    const eh_turn turn = eh_turn_of(in_stride);
    const float *gain_a = m->target_lin[0] + bus, *gain_b = m->target_lin[0] + other;
    float *a = out + bus, *b = out + other;
    wide sum[TILE_FRAMES];
    EH_UNROLL(8)
    for (size_t k = 0; k < TILE_FRAMES; k++) sum[k] = wide_load(a + k * out_stride, b + k * out_stride);
    for (; groups; groups &= groups - 1) {
        const size_t lane = (size_t)__builtin_ctz(groups) * GROUP;
        const float *g_a = gain_a + lane * EH_MAX_BUSES, *g_b = gain_b + lane * EH_MAX_BUSES, *x = in + lane;
        wide gain[GROUP];
        for (size_t i = 0; i < GROUP; i++) gain[i] = wide_load(g_a + i * EH_MAX_BUSES, g_b + i * EH_MAX_BUSES);
        EH_UNROLL(8)
        for (size_t k = 0; k < TILE_FRAMES; k++) {
            if (k == 4) x += 4 * in_stride;
            sum[k] = wide_mix_four(x + turn.at[k % 4], gain, sum[k]);
        }
    }
    EH_UNROLL(8)
    for (size_t k = 0; k < TILE_FRAMES; k++) wide_store(a + k * out_stride, b + k * out_stride, sum[k]);
}

// Two vectors of buses that the same steady groups feed.
static void mix_two_vectors(const eh_mix *m, uint32_t groups, int bus, int other, const float *in, float *out,
                            size_t n_frames) {
    for (; n_frames >= TILE_FRAMES; n_frames -= TILE_FRAMES) {
        mix_tile(m, groups, bus, other, in, out);
        in += TILE_FRAMES * (size_t)m->n_lanes;
        out += TILE_FRAMES * (size_t)m->n_buses;
    }
    for (; n_frames > 0 && groups; groups &= groups - 1) {
        mix_steady(m, __builtin_ctz(groups), bus, in, out, n_frames);
        mix_steady(m, __builtin_ctz(groups), other, in, out, n_frames);
    }
}

static void mix_one_vector(const eh_mix *m, uint32_t groups, uint32_t ramping, int bus, const float *in, float *out,
                           size_t n_frames) {
    int waiting = -1;  // a steady group that looks for a second
    for (; groups; groups &= groups - 1) {
        const int group = __builtin_ctz(groups), is_steady = !(ramping >> group & 1);
        if (is_steady && waiting < 0) {
            waiting = group;
            continue;
        }
        if (is_steady) {
            mix_steady_pair(m, waiting, group, bus, in, out, n_frames);
        } else {
            if (waiting >= 0) mix_steady(m, waiting, bus, in, out, n_frames);
            mix_ramping(m, group, bus, in, out, n_frames);
        }
        waiting = -1;
    }
    if (waiting >= 0) mix_steady(m, waiting, bus, in, out, n_frames);
}

int eh_mix_is_active(const eh_mix *m) {
    uint32_t any = 0;
    for (int group = 0; group < m->n_lanes / GROUP; group++) any |= m->active[group];
    return any != 0;
}

void eh_mix_process(eh_mix *m, const float *in, float *out, size_t n_frames) {
    uint32_t feeding[EH_MAX_BUSES / GROUP] = {0}, ramping = 0;  // bit g: group g
    const int n_groups = m->n_lanes / GROUP, n_vectors = m->n_buses / GROUP;
    for (int group = 0; group < n_groups; group++) {
        ramping |= (uint32_t)is_ramping(m, group) << group;
        for (int v = 0; v < n_vectors; v++) feeding[v] |= (m->active[group] >> v & 1u) << group;
    }
    for (int v = 0; v < n_vectors; v++) {
        if (!feeding[v]) continue;
        int other = v + 1;
        while (other < n_vectors && feeding[other] != feeding[v]) other++;
        if (other < n_vectors && !(feeding[v] & ramping)) {
            mix_two_vectors(m, feeding[v], v * GROUP, other * GROUP, in, out, n_frames);
            feeding[other] = 0;
        } else {
            mix_one_vector(m, feeding[v], ramping, v * GROUP, in, out, n_frames);
        }
    }
    for (; ramping; ramping &= ramping - 1) advance_ramps(m, __builtin_ctz(ramping), n_frames);
}
