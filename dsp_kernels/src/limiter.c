// Look-ahead limiter: the sound waits 48 frames while its gain comes down in a smooth slope ahead of each peak.
//
//   peak     largest of |x[n-6]|, |x[n-5]| and, where asked, the points between them at four times the rate
//   needed   min(1, ceiling / peak), linked pairs take the lower
//   lowest   minimum of `needed` over 49 frames
//   released min(lowest, r + c r (lowest - r) + creep): near unity a one-pole in dB, deeper down a constant rate in dB
//   gain     mean of `released` over 16 frames, twice: a triangle of 31 frames
//
// A peak's needed gain has filled the whole triangle 12 frames before the peak leaves, and still fills it 6 frames
// after: no sample passes the ceiling, and the gain stands still wherever the interpolator weighs a peak, so that the
// true peak needs no margin. The sums are integers: they never drift, and their order does not matter.
#include "evenhand/limiter.h"

#include "bank.h"
#include "eh_ramps.h"
#include "ramp.h"
#include "simd.h"
#include "true_peak.h"
#include "units.h"

enum {
    LOOKAHEAD = EH_LIMITER_LOOKAHEAD_FRAMES,
    WINDOW = LOOKAHEAD + 1,
    SMOOTH_BITS = 4,
    SMOOTH = 1 << SMOOTH_BITS,
    BUFFER_FRAMES = 128,  // the past moves to the front each 80 frames
    UNITY_BITS = 22,
    UNITY = 1 << UNITY_BITS,  // 256 of them just fit in 31 bits
    // Frames that a vector goes on computing after the last gain below one: until every window holds nothing else.
    BUSY_FRAMES = WINDOW + 2 * SMOOTH,
};

// Rise per frame on top of the release, so that it ends at one exactly and also leaves zero.
#define CREEP_LIN 2.384185791015625e-7f

// One vector of lanes. Sliding minimum after van Herk: segments of 49 gains, the minimum so far in this one, and the
// minimum from each place to the end of the one before.
typedef struct {
    v4 audio[BUFFER_FRAMES], ceiling_then[BUFFER_FRAMES];
    v4 segment[WINDOW], suffix[WINDOW + 1], prefix;
    v4i smooth_in[SMOOTH], smooth_out[SMOOTH], sum_in, sum_out;
    v4 released, release_coeff;
    v4 ceiling, ceiling_target, ceiling_step;
    v4i is_true_peak, is_linked;
    int32_t ramp_left, n_audio, n_segment, n_smooth, busy_left, has_run;
} limiter_group;

static limiter_group *groups(const eh_limiter *l) { return (limiter_group *)(void *)l->memory; }

size_t eh_limiter_size_bytes(int n_lanes) { return sizeof(limiter_group) * (size_t)(n_lanes / EH_LANES_PER_VECTOR); }

static void forget(limiter_group *g, v4i lanes) {
    const v4 zero = v4_set1(0.0f), one = v4_set1(1.0f);
    const v4i unity = {UNITY, UNITY, UNITY, UNITY};
    for (int i = 0; i < BUFFER_FRAMES; i++) g->audio[i] = v4_select(lanes, zero, g->audio[i]);
    for (int i = 0; i < WINDOW; i++) g->segment[i] = v4_select(lanes, one, g->segment[i]);
    for (int i = 0; i <= WINDOW; i++) g->suffix[i] = v4_select(lanes, one, g->suffix[i]);
    for (int i = 0; i < SMOOTH; i++) {
        g->smooth_in[i] = (unity & lanes) | (g->smooth_in[i] & ~lanes);
        g->smooth_out[i] = ((unity * SMOOTH) & lanes) | (g->smooth_out[i] & ~lanes);
    }
    g->prefix = v4_select(lanes, one, g->prefix);
    g->released = v4_select(lanes, one, g->released);
    g->sum_in = ((unity * SMOOTH) & lanes) | (g->sum_in & ~lanes);
    g->sum_out = ((unity * (SMOOTH * SMOOTH)) & lanes) | (g->sum_out & ~lanes);
}

eh_status eh_limiter_init(eh_limiter *l, float sample_rate_hz, int n_lanes, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    *l = (eh_limiter){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes, .memory = memory};
    memset(memory, 0, eh_limiter_size_bytes(n_lanes));
    for (int i = 0; i < n_lanes / EH_LANES_PER_VECTOR; i++) {
        limiter_group *g = groups(l) + i;
        g->ceiling = g->ceiling_target = v4_set1(1.0f);
        g->release_coeff = v4_set1((float)(1.0 - eh_one_pole_coeff(80.0, sample_rate_hz)));
    }
    eh_limiter_reset(l);
    return EH_OK;
}

void eh_limiter_link(eh_limiter *l, int even_lane, int is_linked) {
    limiter_group *g = groups(l) + even_lane / EH_LANES_PER_VECTOR;
    g->is_linked[even_lane & 2] = g->is_linked[(even_lane & 2) + 1] = is_linked ? -1 : 0;
}

void eh_limiter_set(eh_limiter *l, int lane, const eh_limiter_params *p) {
    limiter_group *g = groups(l) + lane / EH_LANES_PER_VECTOR;
    const int i = lane & 3;
    g->is_true_peak[i] = p->is_true_peak >= 0.5f ? -1 : 0;
    g->release_coeff[i] = (float)(1.0 - eh_one_pole_coeff(p->release_ms, l->sample_rate_hz));
    const float ceiling_lin = (float)eh_db_to_lin(p->ceiling_dbfs);
    if (ceiling_lin == g->ceiling_target[i]) return;
    g->ceiling_target[i] = ceiling_lin;
    if (!g->has_run) {  // nothing to ramp for: the first sample already obeys
        g->ceiling[i] = ceiling_lin;
        return;
    }
    // The vector has one count: its other lanes, if on their way, start anew from where they are.
    g->ramp_left = eh_ramp_frames(EH_LIMITER_CEILING_DBFS_RAMP_MS, l->sample_rate_hz);
    g->ceiling_step = (g->ceiling_target - g->ceiling) / v4_set1((float)g->ramp_left);
}

void eh_limiter_reset(eh_limiter *l) {
    const v4i all = {-1, -1, -1, -1};
    for (int i = 0; i < l->n_lanes / EH_LANES_PER_VECTOR; i++) {
        limiter_group *g = groups(l) + i;
        forget(g, all);
        g->ceiling = g->ceiling_target;
        g->ramp_left = g->n_segment = g->n_smooth = g->busy_left = g->has_run = 0;
        g->n_audio = LOOKAHEAD;
    }
    for (int lane = 0; lane < EH_MAX_LANES; lane++) l->lowest_gain_lin[lane] = 1.0f;
}

void eh_limiter_reset_lane(eh_limiter *l, int lane) {
    v4i only = {0, 0, 0, 0};
    only[lane & 3] = -1;
    forget(groups(l) + lane / EH_LANES_PER_VECTOR, only);
    l->lowest_gain_lin[lane] = 1.0f;
}

// Copies the chunk into the buffer; returns the largest magnitude there and in the 11 frames before. What is no number,
// or beyond all sound, becomes zero. Magnitudes are compared as bits, where a NaN is merely very large.
static v4 take_in(limiter_group *g, const float *in, size_t stride, size_t n_frames) {
    const v4i too_large = (v4i)v4_set1(1e30f);
    v4 *audio = g->audio + g->n_audio;
    v4i before = {0}, top = {0};
    for (int i = -(EH_TRUE_PEAK_TAPS - 1); i < 0; i++) before = v4i_max(before, (v4i)v4_abs(audio[i]));
    EH_UNROLL(4)
    for (size_t n = 0; n < n_frames; n++, in += stride) {
        audio[n] = v4_load(in);
        top = v4i_max(top, (v4i)v4_abs(audio[n]));
    }
    if (!v4_any(top >= too_large)) return (v4)v4i_max(before, top);
    for (size_t n = 0; n < n_frames; n++) {
        audio[n] = (v4)((v4i)audio[n] & ((v4i)v4_abs(audio[n]) < too_large));
        before = v4i_max(before, (v4i)v4_abs(audio[n]));
    }
    return (v4)before;
}

// The needed gain of each frame of the chunk; returns whether any is below one.
static int find_needed(limiter_group *g, size_t n_frames, v4 *needed) {
    const v4 *audio = g->audio + g->n_audio;
    const v4i is_true_peak = g->is_true_peak, is_linked = g->is_linked;
    const v4 target = g->ceiling_target, step = g->ceiling_step;
    v4 *ceiling_then = g->ceiling_then + g->n_audio, ceiling = g->ceiling;
    const int with_true_peak = v4_any(is_true_peak);
    if (with_true_peak) eh_true_peak_bank((const float *)audio, (float *)needed, n_frames);
    int32_t ramp_left = g->ramp_left;
    v4i any = {0, 0, 0, 0};
    v4 before = v4_abs(audio[-6]);
    for (size_t n = 0; n < n_frames; n++) {
        if (ramp_left > 0) ceiling = v4_fnma(step, v4_set1((float)--ramp_left), target);
        ceiling_then[n] = ceiling;
        const v4 after = v4_abs(audio[(int)n - 5]);
        v4 peak = v4_max(before, after);
        before = after;
        if (with_true_peak) peak = v4_max(peak, (v4)((v4i)needed[n] & is_true_peak));
        const v4i is_over = peak > ceiling;
        v4 gain = ceiling / v4_select(is_over, peak, ceiling);
        const v4 other = v4_swap_pairs(gain);
        gain = v4_select(is_linked, v4_min(gain, other), gain);
        needed[n] = gain;
        any |= is_over;
    }
    g->ceiling = ceiling;
    g->ramp_left = ramp_left;
    return v4_any(any);
}

static void finish_segment(limiter_group *g) {
    v4 lowest = v4_set1(1.0f);
    for (int i = WINDOW - 1; i >= 0; i--) g->suffix[i] = lowest = v4_min(lowest, g->segment[i]);
}

// A64 scales by powers of two as it converts, and so rounds no more often.
static inline v4i to_fixed(v4 gain) {
#if defined(__aarch64__)
    return (v4i)vcvtq_n_s32_f32((float32x4_t)gain, UNITY_BITS);
#else
    return __builtin_convertvector(gain * (float)UNITY, v4i);
#endif
}
static inline v4 from_fixed_sum(v4i sum) {
#if defined(__aarch64__)
    return (v4)vcvtq_n_f32_s32((int32x4_t)sum, UNITY_BITS + 2 * SMOOTH_BITS);
#else
    return __builtin_convertvector(sum, v4) * (1.0f / ((float)UNITY * (SMOOTH * SMOOTH)));
#endif
}

static v4 limit(limiter_group *g, const v4 *needed, float *out, size_t stride, size_t n_frames) {
    const v4 coeff = g->release_coeff, creep = v4_set1(CREEP_LIN), one = v4_set1(1.0f);
    const v4 *audio = g->audio + g->n_audio - LOOKAHEAD, *ceiling_then = g->ceiling_then + g->n_audio - LOOKAHEAD;
    v4 released = g->released, prefix = g->prefix, lowest_gain = one;
    v4i sum_in = g->sum_in, sum_out = g->sum_out;
    size_t at = (size_t)g->n_segment, n_smooth = (size_t)g->n_smooth;
    for (size_t n = 0; n < n_frames;) {
        const size_t n_left = WINDOW - at, end = n + (n_frames - n < n_left ? n_frames - n : n_left);
        for (; n < end; n++, out += stride) {
            g->segment[at] = needed[n];
            prefix = v4_min(prefix, needed[n]);
            const v4 lowest = v4_min(prefix, g->suffix[++at]);
            released = v4_min(lowest, v4_fma(coeff * released, lowest - released, released + creep));
            const v4i whole = to_fixed(released);
            sum_in += whole - g->smooth_in[n_smooth];
            g->smooth_in[n_smooth] = whole;
            sum_out += sum_in - g->smooth_out[n_smooth];
            g->smooth_out[n_smooth] = sum_in;
            n_smooth = (n_smooth + 1) % SMOOTH;
            const v4 gain = from_fixed_sum(sum_out);
            lowest_gain = v4_min(lowest_gain, gain);
            // The guard: rounding may have put a sample one bit above.
            const v4 ceiling = ceiling_then[n];
            v4_store(out, v4_max(v4_min(audio[n] * gain, ceiling), -ceiling));
        }
        if (at == WINDOW) {
            finish_segment(g);
            prefix = one;
            at = 0;
        }
    }
    g->n_segment = (int32_t)at;
    g->n_smooth = (int32_t)n_smooth;
    g->released = released;
    g->prefix = prefix;
    g->sum_in = sum_in;
    g->sum_out = sum_out;
    return lowest_gain;
}

static void process_chunk(eh_limiter *l, int group, const float *in, float *out, size_t n_frames) {
    limiter_group *g = groups(l) + group;
    const size_t stride = (size_t)l->n_lanes;
    if ((size_t)g->n_audio + n_frames > BUFFER_FRAMES) {
        const size_t past = sizeof(v4) * LOOKAHEAD;
        memmove(g->audio, g->audio + g->n_audio - LOOKAHEAD, past);
        memmove(g->ceiling_then, g->ceiling_then + g->n_audio - LOOKAHEAD, past);
        g->n_audio = LOOKAHEAD;
    }
    const v4 top = take_in(g, in, stride, n_frames);
    const v4 highest = v4_select(g->is_true_peak, top * v4_set1(EH_TRUE_PEAK_OVERSHOOT_LIN), top);
    const int is_quiet = !v4_any(highest > g->ceiling) && g->ramp_left == 0;
    v4 needed[EH_MAX_BLOCK_FRAMES];
    int is_limiting = 0;
    if (!is_quiet) {
        if (g->busy_left == 0)  // nobody wrote the ceilings down while at rest
            for (int i = 1; i <= LOOKAHEAD; i++) g->ceiling_then[g->n_audio - i] = g->ceiling;
        is_limiting = g->ramp_left > 0;
        is_limiting |= find_needed(g, n_frames, needed);
    } else if (g->busy_left > 0) {
        for (size_t n = 0; n < n_frames; n++) {
            needed[n] = v4_set1(1.0f);
            g->ceiling_then[(size_t)g->n_audio + n] = g->ceiling;
        }
    }
    if (is_limiting || g->busy_left > 0) {
        const v4 lowest = limit(g, needed, out, stride, n_frames);
        float *shown = l->lowest_gain_lin + 4 * group;
        v4_store(shown, v4_min(v4_load(shown), lowest));
        if (is_limiting || v4_any(g->released < v4_set1(1.0f)))
            g->busy_left = BUSY_FRAMES;
        else
            g->busy_left = g->busy_left > (int32_t)n_frames ? g->busy_left - (int32_t)n_frames : 0;
    } else {
        const v4 *audio = g->audio + g->n_audio - LOOKAHEAD;
        for (size_t n = 0; n < n_frames; n++) v4_store(out + n * stride, audio[n]);
    }
    g->n_audio += (int32_t)n_frames;
    g->has_run = 1;
}

void eh_limiter_process(eh_limiter *l, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)l->n_lanes;
    while (n_frames > 0) {
        const size_t n = n_frames < EH_MAX_BLOCK_FRAMES ? n_frames : EH_MAX_BLOCK_FRAMES;
        for (int group = 0; group < l->n_lanes / EH_LANES_PER_VECTOR; group++)
            process_chunk(l, group, in + 4 * group, out + 4 * group, n);
        in += n * stride;
        out += n * stride;
        n_frames -= n;
    }
}

float eh_limiter_read_gain_db(eh_limiter *l, int lane) {
    const float gain_lin = l->lowest_gain_lin[lane];
    l->lowest_gain_lin[lane] = 1.0f;
    return (float)eh_lin_to_db(gain_lin);
}
