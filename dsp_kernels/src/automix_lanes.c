// The automixer at full rate: each lane's band-pass, power and gain.
#include "automix_state.h"

#define LOUDEST_SQUARE 1e12f  // what sums to more over a tick, or is no number, was never a sound: no power

typedef struct {
    v4 gain, step, low, band, square, sum;
} lane_vector;

// One step of the side chain. State-variable high-pass (Chamberlin), Q = 1/sqrt(2): f = 2 sin(pi fc / fs).
static inline void hear(lane_vector *l, v4 f) {
    l->low = v4_fma(f, l->band, l->low);
    const v4 high = v4_fnma(v4_set1(1.41421356f), l->band, l->sum - l->low);
    l->band = v4_fma(f, high, l->band);
    l->square = v4_fma(high, high, l->square);
}

// A filter that has swallowed what is no sound starts anew.
static void heal(automix_state *s, int n_lanes) {
    for (int lane = 0; lane < n_lanes; lane++)
        if (!(s->low[lane] < 1e9f && s->low[lane] > -1e9f && s->band[lane] < 1e9f && s->band[lane] > -1e9f))
            s->low[lane] = s->band[lane] = 0.0f;
}

static inline void begin_tick(automix_state *s, lane_vector *l, int lane) {
    const v4 target = automix_gather(s->slot[SLOT_GAIN], s->lane_slot + lane, s->is_lane_run[lane / 4]);
    l->gain = v4_load(s->gain + lane);
    l->step = (target - l->gain) * (1.0f / EH_AUTOMIX_FRAMES);
    l->low = v4_load(s->low + lane);
    l->band = v4_load(s->band + lane);
    l->square = l->sum = v4_set1(0.0f);
}

// Returns where the lane was healthy.
static inline v4i end_tick(automix_state *s, const lane_vector *l, int lane, v4 scale) {
    const v4i is_good = l->square < LOUDEST_SQUARE;
    v4_store(s->power + lane, (v4)((v4i)(l->square * scale) & is_good));
    v4_store(s->gain + lane, l->gain);
    v4_store(s->low + lane, l->low);
    v4_store(s->band + lane, l->band);
    return is_good;
}

// A whole tick of n_vectors neighbouring vectors; n_vectors and boxcar are constants where this is called.
static inline __attribute__((always_inline)) v4i run_tick(automix_state *s, const float *x, float *y, size_t stride,
                                                          int lane, const int n_vectors, const int boxcar) {
    const v4 f = v4_set1(s->band_coeff), scale = v4_set1(s->power_scale);
    lane_vector l[2];
    for (int v = 0; v < n_vectors; v++) begin_tick(s, &l[v], lane + 4 * v);
    x += lane;
    y += lane;
    for (int n = 0; n < EH_AUTOMIX_FRAMES; n += boxcar) {
        for (int k = 0; k < boxcar; k++, x += stride, y += stride) {
            v4 in[2];
            for (int v = 0; v < n_vectors; v++) in[v] = v4_load(x + 4 * v);
            for (int v = 0; v < n_vectors; v++) {
                l[v].sum = k == 0 ? in[v] : l[v].sum + in[v];
                l[v].gain = l[v].gain + l[v].step;
                in[v] = in[v] * l[v].gain;
            }
            for (int v = 0; v < n_vectors; v++) v4_store(y + 4 * v, in[v]);
        }
        for (int v = 0; v < n_vectors; v++) hear(&l[v], f);
    }
    v4i is_good = end_tick(s, &l[0], lane, scale);
    for (int v = 1; v < n_vectors; v++) is_good &= end_tick(s, &l[v], lane + 4 * v, scale);
    return is_good;
}

// The same, frame by frame, for the part of a tick that a block holds.
static void run_part(automix_state *s, const float *x, float *y, size_t stride, int lane, int n_frames) {
    const v4 f = v4_set1(s->band_coeff);
    lane_vector l;
    if (s->phase == 0) {
        begin_tick(s, &l, lane);
    } else {
        l = (lane_vector){v4_load(s->gain + lane), v4_load(s->step + lane),   v4_load(s->low + lane),
                          v4_load(s->band + lane), v4_load(s->square + lane), v4_load(s->boxcar + lane)};
    }
    x += lane;
    y += lane;
    const int end = s->phase + n_frames, boxcar = s->boxcar_frames;
    for (int n = s->phase; n < end; n++, x += stride, y += stride) {
        const v4 in = v4_load(x);
        l.sum = n % boxcar == 0 ? in : l.sum + in;
        l.gain = l.gain + l.step;
        v4_store(y, in * l.gain);
        if (n % boxcar == boxcar - 1) hear(&l, f);
    }
    v4_store(s->gain + lane, l.gain);
    v4_store(s->step + lane, l.step);
    v4_store(s->low + lane, l.low);
    v4_store(s->band + lane, l.band);
    v4_store(s->square + lane, l.square);
    v4_store(s->boxcar + lane, l.sum);
    if (end == EH_AUTOMIX_FRAMES && v4_any(~end_tick(s, &l, lane, v4_set1(s->power_scale)))) heal(s, (int)stride);
}

static inline __attribute__((always_inline)) void run_ticks(automix_state *s, const float *in, float *out, int n_lanes,
                                                            const int boxcar) {
    v4i is_good = v4_set1(0.0f) == 0.0f;
    for (int lane = 0; lane < n_lanes; lane += 4) {
        if (!s->is_active[lane / 4]) continue;
        if (s->is_active[lane / 4 + 1]) {
            is_good &= run_tick(s, in, out, (size_t)n_lanes, lane, 2, boxcar);
            lane += 4;
        } else {
            is_good &= run_tick(s, in, out, (size_t)n_lanes, lane, 1, boxcar);
        }
    }
    if (v4_any(~is_good)) heal(s, n_lanes);
}

static void copy_idle(const automix_state *s, const float *in, float *out, int n_lanes, int n_frames) {
    const size_t stride = (size_t)n_lanes;
    if (!s->is_any_active) {
        memmove(out, in, stride * (size_t)n_frames * sizeof(float));
        return;
    }
    for (int lane = 0; lane < n_lanes; lane += 4)
        for (int n = 0; !s->is_active[lane / 4] && n < n_frames; n++)
            v4_store(out + (size_t)n * stride + lane, v4_load(in + (size_t)n * stride + lane));
}

void automix_lanes(automix_state *s, const float *in, float *out, int n_lanes, int n_frames) {
    if (in != out) copy_idle(s, in, out, n_lanes, n_frames);
    if (n_frames < EH_AUTOMIX_FRAMES) {
        for (int lane = 0; lane < n_lanes; lane += 4)
            if (s->is_active[lane / 4]) run_part(s, in, out, (size_t)n_lanes, lane, n_frames);
        return;
    }
    switch (s->boxcar_frames) {
        case 4:
            run_ticks(s, in, out, n_lanes, 4);
            break;
        case 8:
            run_ticks(s, in, out, n_lanes, 8);
            break;
        default:
            run_ticks(s, in, out, n_lanes, 16);
            break;
    }
}
