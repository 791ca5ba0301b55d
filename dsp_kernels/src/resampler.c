// Resampler: a Kaiser-windowed sinc, tabulated, and a buffer in which the taps of every output frame lie in a row.
//
//   h(t) = sinc(t) I0(beta sqrt(1 - (t / 24)^2)) / I0(beta),  t in input frames from -24 to 24
//   phase p of 256 holds h(k - 23 - p / 256) for tap k, divided by their sum: the gain at 0 Hz is 1 at every phase
//   y[n] = sum of w_k x[i - 47 + k],  i the newest frame it needs,  w between phases p and p + 1
// beta 11 puts the stop band at -120 dB from 28 kHz on (at 48 kHz: images of what lies below 20 kHz); what the line
// between phases adds is then the larger error at 20 kHz.  Kaiser 1974;  tests/test_resampler.py measures both.
#include "evenhand/resampler.h"

#include "bank.h"
#include "units.h"
#include "wide.h"

enum { TAPS = EH_RESAMPLER_TAPS, PAST = TAPS - 1, PHASES = 256, PHASE_BITS = 8, WIDE = 8 };
enum { CAPACITY = EH_RESAMPLER_BUFFER_FRAMES };
enum { FRAME_BITS = 44 };  // of the fraction: 100000 frames of ratio 1.1 still fit into 63 bits
#define ONE_FRAME ((int64_t)1 << FRAME_BITS)
static const double BETA = 11.0, HALF_WIDTH = TAPS / 2, RATIO_MIN = 0.9, RATIO_MAX = 1.1;

static float *table_of(const eh_resampler *r) { return r->memory; }  // (PHASES + 1, TAPS)
static float *buffer_of(const eh_resampler *r) { return r->memory + (PHASES + 1) * TAPS; }
// Lanes lie in groups of eight, the last of four if that is left: (CAPACITY, 8 or 4) each.
static float *group_of(const eh_resampler *r, int lane) { return buffer_of(r) + (size_t)lane * CAPACITY; }
static size_t group_width(const eh_resampler *r, int lane) { return lane + WIDE <= r->n_lanes ? WIDE : WIDE / 2; }

size_t eh_resampler_size_bytes(int n_lanes) {
    return ((PHASES + 1) * TAPS + CAPACITY * (size_t)n_lanes) * sizeof(float);
}

static double bessel_i0(double x) {
    double term = 1.0, sum = 1.0;
    for (int n = 1; term > 1e-17 * sum; n++) {
        term *= (0.5 * x / n) * (0.5 * x / n);
        sum += term;
    }
    return sum;
}

// sinc at whole + phase / PHASES; sin(pi whole + a) is +/- sin(a), so that whole frames give exactly 0.
static double sinc(int whole, int phase) {
    if (phase == 0) return whole == 0 ? 1.0 : 0.0;
    double sine, cosine;
    eh_sincos(EH_PI * phase / PHASES, &sine, &cosine);
    return (whole & 1 ? -sine : sine) / (EH_PI * (whole + (double)phase / PHASES));
}

static void tabulate(float *table) {
    for (int phase = 0; phase <= PHASES; phase++, table += TAPS) {
        double h[TAPS], sum = 0.0;
        for (int k = 0; k < TAPS; k++) {
            const int whole = TAPS / 2 - 1 - k;  // -t = whole + phase / PHASES
            const double t = (whole + (double)phase / PHASES) / HALF_WIDTH, inside = 1.0 - t * t;
            const double window = bessel_i0(BETA * __builtin_sqrt(inside > 0.0 ? inside : 0.0)) / bessel_i0(BETA);
            h[k] = window * (phase == PHASES ? sinc(whole + 1, 0) : sinc(whole, phase));
            sum += h[k];
        }
        for (int k = 0; k < TAPS; k++) table[k] = (float)(h[k] / sum);
    }
}

static int64_t to_fixed(double ratio) {
    const double inside = ratio > RATIO_MIN ? (ratio < RATIO_MAX ? ratio : RATIO_MAX) : RATIO_MIN;
    return (int64_t)(inside * (double)ONE_FRAME + 0.5);
}

eh_status eh_resampler_init(eh_resampler *r, int n_lanes, double ratio, void *memory) {
    const eh_status status = eh_bank_check(48000.0f, n_lanes);
    if (status != EH_OK) return status;
    if (!(ratio >= RATIO_MIN && ratio <= RATIO_MAX)) return EH_ERR_ARGUMENT;
    *r = (eh_resampler){.n_lanes = n_lanes, .memory = memory};
    tabulate(table_of(r));
    r->target = to_fixed(ratio);
    eh_resampler_reset(r);
    return EH_OK;
}

void eh_resampler_set(eh_resampler *r, double ratio, int32_t ramp_frames) {
    r->target = to_fixed(ratio);
    r->ramp_left = ramp_frames > 1 ? ramp_frames : 1;
    r->step_step = (r->target - r->step) / r->ramp_left;
}

void eh_resampler_reset(eh_resampler *r) {
    for (int lane = 0; lane < r->n_lanes; lane += WIDE)
        memset(group_of(r, lane), 0, PAST * group_width(r, lane) * sizeof(float));
    r->first = r->ramp_left = 0;
    r->end = PAST;
    r->fraction = r->step_step = 0;
    r->step = r->target;
}

// Moves what is still needed to the start of the buffer.
static void make_room(eh_resampler *r) {
    for (int lane = 0; lane < r->n_lanes; lane += WIDE) {
        const size_t width = group_width(r, lane);
        float *group = group_of(r, lane);
        memmove(group, group + (size_t)r->first * width, (size_t)(r->end - r->first) * width * sizeof(float));
    }
    r->end -= r->first;
    r->first = 0;
}

size_t eh_resampler_push(eh_resampler *r, const float *in, size_t n_frames) {
    if ((size_t)r->end + n_frames > CAPACITY) make_room(r);
    const size_t room = (size_t)(CAPACITY - r->end), n_taken = n_frames < room ? n_frames : room;
    for (int lane = 0; lane < r->n_lanes; lane += WIDE) {
        const size_t width = group_width(r, lane);
        float *group = group_of(r, lane) + (size_t)r->end * width;
        for (size_t n = 0; n < n_taken; n++)
            for (size_t i = 0; i < width; i += 4)
                v4_store(group + n * width + i, v4_load(in + n * (size_t)r->n_lanes + (size_t)lane + i));
    }
    r->end += (int32_t)n_taken;
    return n_taken;
}

// The weights at a place between two frames.
static inline void weigh(const float *table, int64_t fraction, float *weights) {
    const float *row = table + (fraction >> (FRAME_BITS - PHASE_BITS)) * TAPS;
    const int32_t between = (int32_t)((fraction >> (FRAME_BITS - PHASE_BITS - 24)) & 0xffffff);
    const v8 share = v8_set1((float)between * (1.0f / 16777216.0f));
    for (int k = 0; k < TAPS; k += 8) {
        const v8 a = v8_load(row + k), b = v8_load(row + TAPS + k);
        v8_store(weights + k, v8_fma(share, v8_sub(b, a), a));
    }
}

// Four sums, of every fourth tap each: enough of them to hide the latency of the multiplier.
static inline void sum_8_lanes(const float *x, const float *weights, float *out) {
    EH_READ_AGAIN(weights);
    v8 s0 = v8_set1(0.0f), s1 = s0, s2 = s0, s3 = s0;
    for (int k = 0; k < TAPS; k += 4, x += 4 * WIDE) {
        const v4_twice w = v4_load_twice(weights + k);
        s0 = V8_FMA_LANE(v8_load(x), w, 0, s0);
        s1 = V8_FMA_LANE(v8_load(x + WIDE), w, 1, s1);
        s2 = V8_FMA_LANE(v8_load(x + 2 * WIDE), w, 2, s2);
        s3 = V8_FMA_LANE(v8_load(x + 3 * WIDE), w, 3, s3);
    }
    v8_store(out, v8_add(v8_add(s0, s1), v8_add(s2, s3)));
}

static inline void sum_4_lanes(const float *x, const float *weights, float *out) {
    EH_READ_AGAIN(weights);
    v4 s0 = v4_set1(0.0f), s1 = s0, s2 = s0, s3 = s0;
    for (int k = 0; k < TAPS; k += 4, x += 4 * 4) {
        const v4 w = v4_load_whole(weights + k);
        s0 = V4_FMA_LANE(v4_load(x), w, 0, s0);
        s1 = V4_FMA_LANE(v4_load(x + 4), w, 1, s1);
        s2 = V4_FMA_LANE(v4_load(x + 8), w, 2, s2);
        s3 = V4_FMA_LANE(v4_load(x + 12), w, 3, s3);
    }
    v4_store(out, (s0 + s1) + (s2 + s3));
}

size_t eh_resampler_pull(eh_resampler *r, float *out, size_t n_frames) {
    const size_t stride = (size_t)r->n_lanes;
    const float *table = table_of(r), *buffer = buffer_of(r);
    int32_t first = r->first, ramp_left = r->ramp_left;
    int64_t place = r->fraction, step = r->step;
    const int32_t last = r->end - TAPS;  // where a frame may still begin
    size_t n = 0;
    for (; n < n_frames && first <= last; n++, out += stride) {
        _Alignas(32) float weights[TAPS];
        weigh(table, place, weights);
        const float *x = buffer + (size_t)first * WIDE;
        size_t lane = 0;
        for (; lane + WIDE <= stride; lane += WIDE, x += CAPACITY * WIDE) sum_8_lanes(x, weights, out + lane);
        if (lane < stride) sum_4_lanes(x - (size_t)first * 4, weights, out + lane);
        if (ramp_left > 0) step = --ramp_left > 0 ? step + r->step_step : r->target;
        place += step;
        first += (int32_t)(place >> FRAME_BITS);
        place &= ONE_FRAME - 1;
    }
    r->first = first;
    r->ramp_left = ramp_left;
    r->fraction = place;
    r->step = step;
    return n;
}

size_t eh_resampler_needed_frames(const eh_resampler *r, size_t n_frames) {
    if (n_frames == 0) return 0;
    const int64_t n_steps = (int64_t)n_frames - 1;
    const int64_t n_ramp = n_steps < r->ramp_left ? n_steps : r->ramp_left;
    int64_t place = r->fraction + n_ramp * r->step + n_ramp * (n_ramp + 1) / 2 * r->step_step;
    if (n_ramp > 0 && n_ramp == r->ramp_left)  // the ramp's last step is the target itself
        place += r->target - (r->step + n_ramp * r->step_step);
    place += (n_steps - n_ramp) * r->target;
    const int64_t missing = r->first + (place >> FRAME_BITS) + TAPS - r->end;
    return missing > 0 ? (size_t)missing : 0;
}

double eh_resampler_backlog_frames(const eh_resampler *r) {
    return (double)(r->end - r->first - PAST) - (double)r->fraction / (double)ONE_FRAME;
}

double eh_resampler_ratio(const eh_resampler *r) { return (double)r->step / (double)ONE_FRAME; }
