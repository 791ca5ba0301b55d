// Programme loudness of a stereo pair after ITU-R BS.1770-4 and EBU Tech 3341/3342, in memory that does not grow.
#include "evenhand/loudness.h"

#include "bank.h"
#include "kweight.h"
#include "simd.h"
#include "true_peak.h"
#include "units.h"

// Power is summed over sub-blocks of 100 ms. The last 4 are momentary loudness and a gating block, the last 30 are
// short-term loudness and a value of the loudness range.
enum { MOMENTARY_SUBBLOCKS = 4, SHORT_TERM_SUBBLOCKS = 30 };

// Gating needs all blocks of the programme. A histogram keeps them in classes of 0.05 LU, each with its count and the
// exact sum of its powers: only the class that a relative gate cuts is in doubt, and its mean decides.
enum { CLASSES_PER_LU = 20, LOWEST_LUFS = -70, N_CLASSES = 80 * CLASSES_PER_LU };

enum { CHUNK_FRAMES = 64, HISTORY_FRAMES = EH_TRUE_PEAK_TAPS - 1 };

typedef struct {
    double power_sum[N_CLASSES];
    uint32_t count[N_CLASSES];
} histogram;

typedef double v2d __attribute__((vector_size(16)));

// Left and right of both filters in direct form 1: the recursion waits for one multiply-add only.
typedef struct {
    v2d x1, x2, w1, w2, y1, y2;
} filter;

typedef struct {
    eh_kweight_design design;
    filter filter;
    v2d power;                        // of the sub-block so far
    uint64_t n_frames, subblock_end;  // frames since reset, and at the end of this sub-block
    uint64_t subblock_begin, n_subblocks;
    double subblock_power[SHORT_TERM_SUBBLOCKS];  // a ring
    double momentary_power, short_term_power;
    uint32_t n_pending;  // frames of the chunk that the peak meter has not seen
    float peak[2], sample_peak[2];
    float chunk[2 * (HISTORY_FRAMES + CHUNK_FRAMES)];
    histogram gating, range;
} state;

static inline v2d v2d_set1(double a) { return (v2d){a, a}; }
static inline v2d v2d_fma(v2d a, v2d b, v2d c) {
#if defined(__x86_64__)
    return (v2d)_mm_fmadd_pd((__m128d)a, (__m128d)b, (__m128d)c);
#else
    return (v2d)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#endif
}

size_t eh_loudness_size_bytes(float sample_rate_hz) {
    (void)sample_rate_hz;
    return sizeof(state);
}

static uint64_t subblock_end(const state *s, float sample_rate_hz) {
    return (uint64_t)((double)(s->n_subblocks + 1) * (double)sample_rate_hz / 10.0 + 0.5);
}

eh_status eh_loudness_init(eh_loudness *l, float sample_rate_hz, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, EH_LANES_PER_VECTOR);
    if (status != EH_OK) return status;
    *l = (eh_loudness){.sample_rate_hz = sample_rate_hz, .memory = memory};
    eh_kweight_design_at(&((state *)memory)->design, sample_rate_hz);
    eh_loudness_reset(l);
    return EH_OK;
}

void eh_loudness_reset(eh_loudness *l) {
    state *s = l->memory;
    const eh_kweight_design design = s->design;
    memset(s, 0, sizeof *s);
    s->design = design;
    s->subblock_end = subblock_end(s, l->sample_rate_hz);
}

static double power_to_lufs(double power) { return eh_power_to_db(power) - 0.691; }

static void histogram_add(histogram *h, double power) {
    const double lufs = power_to_lufs(power);
    if (!(lufs > LOWEST_LUFS)) return;  // the absolute gate
    int class = (int)((lufs - LOWEST_LUFS) * CLASSES_PER_LU);
    if (class >= N_CLASSES) class = N_CLASSES - 1;
    h->power_sum[class] += power;
    h->count[class]++;
}

// The first class above the relative gate, which stands gate_lu over the mean of all that passed the absolute one.
static int histogram_first(const histogram *h, double gate_lu) {
    double sum = 0.0;
    uint64_t count = 0;
    for (int i = 0; i < N_CLASSES; i++) {
        sum += h->power_sum[i];
        count += h->count[i];
    }
    if (count == 0) return N_CLASSES;
    const double gate_power = sum / (double)count * eh_exp2(gate_lu * 2.0 / EH_DB_PER_LOG2);
    for (int i = 0; i < N_CLASSES; i++)
        if (h->count[i] > 0 && h->power_sum[i] > gate_power * (double)h->count[i]) return i;
    return N_CLASSES;
}

static double integrated_power(const histogram *h) {
    double sum = 0.0;
    uint64_t count = 0;
    for (int i = histogram_first(h, -10.0); i < N_CLASSES; i++) {
        sum += h->power_sum[i];
        count += h->count[i];
    }
    return count > 0 ? sum / (double)count : 0.0;
}

// 95th minus 10th percentile of what is above the gate, by nearest rank as in EBU Tech 3342.
static double range_lu(const histogram *h) {
    const int first = histogram_first(h, -20.0);
    uint64_t count = 0;
    for (int i = first; i < N_CLASSES; i++) count += h->count[i];
    if (count < 2) return 0.0;
    const uint64_t rank[2] = {(uint64_t)((double)(count - 1) * 0.10 + 0.5),
                              (uint64_t)((double)(count - 1) * 0.95 + 0.5)};
    double lufs[2] = {0.0, 0.0};
    for (int k = 0; k < 2; k++) {
        uint64_t seen = 0;
        for (int i = first; i < N_CLASSES; i++) {
            seen += h->count[i];
            if (seen <= rank[k]) continue;
            lufs[k] = power_to_lufs(h->power_sum[i] / (double)h->count[i]);
            break;
        }
    }
    return lufs[1] - lufs[0];
}

static double mean_of_last(const state *s, int n) {
    double sum = 0.0;
    for (int i = 1; i <= n; i++) sum += s->subblock_power[(s->n_subblocks - (uint64_t)i) % SHORT_TERM_SUBBLOCKS];
    return sum / n;
}

static void finish_subblock(state *s, float sample_rate_hz) {
    double power = (s->power[0] + s->power[1]) / (double)(s->subblock_end - s->subblock_begin);
    if (!(power < 1e60)) {  // a NaN or an infinity came in: these 100 ms count as silence
        power = 0.0;
        s->filter = (filter){0};
    }
    s->subblock_power[s->n_subblocks % SHORT_TERM_SUBBLOCKS] = power;
    s->n_subblocks++;
    s->power = v2d_set1(0.0);
    s->subblock_begin = s->subblock_end;
    s->subblock_end = subblock_end(s, sample_rate_hz);
    if (s->n_subblocks >= MOMENTARY_SUBBLOCKS) {
        s->momentary_power = mean_of_last(s, MOMENTARY_SUBBLOCKS);
        histogram_add(&s->gating, s->momentary_power);
    }
    if (s->n_subblocks >= SHORT_TERM_SUBBLOCKS) {
        s->short_term_power = mean_of_last(s, SHORT_TERM_SUBBLOCKS);
        histogram_add(&s->range, s->short_term_power);
    }
}

static void weigh(state *s, const float *x, size_t n_frames) {
    const eh_kweight_design *d = &s->design;
    const v2d b0 = v2d_set1(d->shelf_b[0]), b1 = v2d_set1(d->shelf_b[1]), b2 = v2d_set1(d->shelf_b[2]);
    const v2d a1 = v2d_set1(-d->shelf_a[0]), a2 = v2d_set1(-d->shelf_a[1]);
    const v2d c1 = v2d_set1(-d->rlb_a[0]), c2 = v2d_set1(-d->rlb_a[1]), minus_two = v2d_set1(-2.0);
    filter f = s->filter;
    v2d power = s->power;
    EH_UNROLL(4)
    for (size_t n = 0; n < n_frames; n++, x += 2) {
        v2 pair;
        memcpy(&pair, x, sizeof pair);
        const v2d x0 = __builtin_convertvector(pair, v2d);
        const v2d shelf = v2d_fma(a2, f.w2, v2d_fma(b2, f.x2, v2d_fma(b1, f.x1, b0 * x0)));
        const v2d w0 = v2d_fma(a1, f.w1, shelf);
        const v2d rlb = v2d_fma(c2, f.y2, v2d_fma(minus_two, f.w1, w0) + f.w2);
        const v2d y0 = v2d_fma(c1, f.y1, rlb);
        power = v2d_fma(y0, y0, power);
        f = (filter){x0, f.x1, w0, f.w1, y0, f.y1};
    }
    s->filter = f;
    s->power = power;
}

void eh_loudness_process(eh_loudness *l, const float *in, int n_lanes, int first_lane, size_t n_frames) {
    state *s = l->memory;
    const size_t stride = (size_t)n_lanes;
    in += first_lane;
    while (n_frames > 0) {
        const uint64_t subblock_room = s->subblock_end - s->n_frames;
        const size_t chunk_room = CHUNK_FRAMES - s->n_pending;
        size_t n = n_frames < chunk_room ? n_frames : chunk_room;
        if (n > subblock_room) n = (size_t)subblock_room;
        float *chunk = s->chunk + 2 * (HISTORY_FRAMES + s->n_pending);
        for (size_t i = 0; i < n; i++) memcpy(chunk + 2 * i, in + i * stride, 2 * sizeof(float));
        weigh(s, chunk, n);
        s->n_pending += (uint32_t)n;
        s->n_frames += n;
        in += n * stride;
        n_frames -= n;
        if (s->n_pending == CHUNK_FRAMES) {
            eh_true_peak_stereo(s->chunk + 2 * HISTORY_FRAMES, CHUNK_FRAMES, s->sample_peak, s->peak);
            memmove(s->chunk, s->chunk + 2 * CHUNK_FRAMES, 2 * HISTORY_FRAMES * sizeof(float));
            s->n_pending = 0;
        }
        if (s->n_frames == s->subblock_end) finish_subblock(s, l->sample_rate_hz);
    }
}

static float shown(double level) { return level > EH_SILENCE_DBFS ? (float)level : (float)EH_SILENCE_DBFS; }

eh_loudness_reading eh_loudness_read(const eh_loudness *l) {
    const state *s = l->memory;
    float sample[2] = {s->sample_peak[0], s->sample_peak[1]}, peak[2] = {s->peak[0], s->peak[1]};
    eh_true_peak_stereo(s->chunk + 2 * HISTORY_FRAMES, s->n_pending, sample, peak);
    const float top = sample[0] > sample[1] ? sample[0] : sample[1], between = peak[0] > peak[1] ? peak[0] : peak[1];
    return (eh_loudness_reading){
        .momentary_lufs = shown(power_to_lufs(s->momentary_power)),
        .short_term_lufs = shown(power_to_lufs(s->short_term_power)),
        .integrated_lufs = shown(power_to_lufs(integrated_power(&s->gating))),
        .loudness_range_lu = (float)range_lu(&s->range),
        .sample_peak_dbfs = shown(eh_lin_to_db(top)),
        .true_peak_dbtp = shown(eh_lin_to_db(between > top ? between : top)),
    };
}
