// What gate and compressor share: a peak over four frames, a gain at each fourth frame and its line in between.
//
// Both work in passes over the ticks of a block: peaks, levels, curve, smoothing, lines. One long loop would wait: from
// peak to gain it is 130 cycles, and no core looks far enough ahead to fill them with the next tick.
#pragma once

#include "evenhand/dynamics.h"
#include "log2exp2.h"

enum {
    EH_TICK = EH_DYNAMICS_FRAMES,
    EH_MAX_TICKS = EH_MAX_BLOCK_FRAMES / EH_TICK + 1,  // that end within a block
};

// Levels are compared as the bits of non-negative floats, where a NaN is merely very loud, and are kept between
// -180 dBFS, so that nothing decays into denormals, and +60 dBFS, so that a NaN or an Inf stays a number.
#define EH_LEVEL_MIN_LIN 1e-9f
#define EH_LEVEL_MAX_LIN 1024.0f

// y moves towards target by share of the distance. The rounding error is carried in rest: else float32 would stop
// short of the target by 0.03 dB at a time constant of 3 s.
static inline v4 eh_approach(v4 y, v4 *rest, v4 target, v4 share) {
    const v4 change = v4_fma(share, target - y, *rest), moved = y + change;
    *rest = change - (moved - y);
    return moved;
}

// Of linked lanes each gets the louder peak.
static inline void eh_peaks_link(v4i *peaks, int n_ticks, v4i is_linked) {
    if (!v4_any(is_linked)) return;
    for (int k = 0; k < n_ticks; k++) peaks[k] = v4i_max(peaks[k], (v4i)v4_swap_pairs((v4)peaks[k]) & is_linked);
}

static inline v4i eh_level_bounded(v4i level) {
    return v4i_min(v4i_max(level, (v4i)v4_set1(EH_LEVEL_MIN_LIN)), (v4i)v4_set1(EH_LEVEL_MAX_LIN));
}

// Frames to the end of a tick that has begun, phase frames ago, and not more than there are.
static inline size_t eh_frames_to_tick(int phase, size_t n_frames) {
    const size_t n_left = (size_t)((EH_TICK - phase) % EH_TICK);
    return n_left < n_frames ? n_left : n_frames;
}

// power, where it is wanted, sums the squares: a constant NULL costs nothing.
static inline v4i eh_loudness(const float *in, v4 *power) {
    const v4 x = v4_load(in);
    if (power != NULL) *power = v4_fma(x, x, *power);
    return (v4i)v4_abs(x);
}

// Adds frames to the running peak and writes that of each tick that ends; returns how many.
static inline int eh_peaks_collect(const float *in, size_t stride, size_t n_frames, int phase, v4i *running, v4 *power,
                                   v4i *peaks) {
    v4i *next = peaks, peak = *running;
    const size_t n_head = eh_frames_to_tick(phase, n_frames);
    for (size_t n = 0; n < n_head; n++, in += stride) peak = v4i_max(peak, eh_loudness(in, power));
    if (phase + n_head == EH_TICK) {
        *next++ = peak;
        peak = (v4i){0};
    }
    n_frames -= n_head;
    const eh_turn turn = eh_turn_of(stride);
    for (; n_frames >= EH_TICK; n_frames -= EH_TICK, in += EH_TICK * stride) {
        const v4i a = eh_loudness(in, power), b = eh_loudness(in + turn.at[1], power);
        const v4i c = eh_loudness(in + turn.at[2], power), d = eh_loudness(in + turn.at[3], power);
        *next++ = v4i_max(v4i_max(a, b), v4i_max(c, d));
    }
    for (; n_frames > 0; n_frames--, in += stride) peak = v4i_max(peak, eh_loudness(in, power));
    *running = peak;
    return (int)(next - peaks);
}

// The gain between two ticks, and the gain that it reaches with the next.
typedef struct {
    v4 gain, step, target;
} eh_line;

static inline void eh_line_turn(eh_line *line, v4 target) {
    line->gain = line->target;
    line->step = (target - line->target) * (1.0f / EH_TICK);
    line->target = target;
}

static inline void eh_line_frame(eh_line *line, const float *in, float *out) {
    v4_store(out, v4_load(in) * line->gain);
    line->gain += line->step;
}

// Applies the line; at the end of each tick it turns towards the next of the targets.
static inline void eh_line_apply(eh_line *line, const v4 *targets, const float *in, float *out, size_t stride,
                                 size_t n_frames, int phase) {
    eh_line l = *line;
    const size_t n_head = eh_frames_to_tick(phase, n_frames);
    for (size_t n = 0; n < n_head; n++, in += stride, out += stride) eh_line_frame(&l, in, out);
    if (phase + n_head == EH_TICK) eh_line_turn(&l, *targets++);
    n_frames -= n_head;
    const eh_turn turn = eh_turn_of(stride);
    for (; n_frames >= EH_TICK; n_frames -= EH_TICK, in += EH_TICK * stride, out += EH_TICK * stride) {
        EH_UNROLL(4)
        for (int k = 0; k < EH_TICK; k++) eh_line_frame(&l, in + turn.at[k], out + turn.at[k]);
        eh_line_turn(&l, *targets++);
    }
    for (; n_frames > 0; n_frames--, in += stride, out += stride) eh_line_frame(&l, in, out);
    *line = l;
}

static inline void eh_copy_group(const float *in, float *out, size_t stride, size_t n_frames) {
    if (in == out) return;
    for (size_t n = 0; n < n_frames; n++, in += stride, out += stride) v4_store(out, v4_load(in));
}
