// Recursive cross-spectra, coherence, and delay by GCC-PHAT.
#include "pairs.h"

#include "evenhand/types.h"
#include "spectral_math.h"

#define LOWEST_HZ 200.0f  // hum and rumble are in every microphone
#define MEMORY_MS 2000.0
#define LOUDEST_MS 500.0
#define GATE_POWER 3.1622777e-8f  // -75 dBFS
#define QUIETER_POWER 0.5f        // a may be 3 dB under b in a frame that counts
#define LOUDER_POWER 2.0f         // 3 dB: the frame may be another channel's
#define ORIGIN_COHERENCE 0.4f     // and is, when the two are this coherent
#define MIN_FRAMES 8.0f           // half a second
#define MAX_DELAY_S 0.02f
#define WORTH_A_DELAY 0.15f  // coherence
#define PEAK_OVER_MEAN 8.0f
#define BROADBAND_BINS 8.0f  // (sum |S|)^2 / sum |S|^2: a tone has one or two, and no delay

void eh_pairs_init(eh_pairs *p, const eh_slow *slow, eh_arena *arena) {
    const size_t groups = (size_t)slow->n_groups, quads = groups * groups * 4;
    p->n_groups = slow->n_groups;
    p->n_quads = (int)quads;
    p->rate_hz = slow->rate_hz;
    p->first_bin = (int)(LOWEST_HZ / (2 * slow->bin_hz)) + 1;
    p->n_bins = EH_PAIR_LAST_BIN - p->first_bin + 1;
    p->n_bands = (p->n_bins + EH_PAIR_BAND_BINS - 1) / EH_PAIR_BAND_BINS;
    p->max_lag = (int)(MAX_DELAY_S * p->rate_hz);
    if (p->max_lag > EH_PAIR_FFT / 2 - 2) p->max_lag = EH_PAIR_FFT / 2 - 2;
    p->n_visits = (p->n_groups + 3) / 4;
    p->keep = (float)eh_one_pole_coeff(MEMORY_MS, 1000.0 / (EH_HOP_MS * EH_SLOW_CYCLE_HOPS));
    p->loudest_keep = (float)eh_one_pole_coeff(LOUDEST_MS, 1000.0 / (EH_HOP_MS * EH_SLOW_CYCLE_HOPS));
    eh_fft_init(&p->fft, EH_PAIR_FFT, arena);
    p->spectrum = eh_arena_take(arena, 2 * groups * (size_t)p->n_bins * 2 * sizeof(v4));
    p->band = eh_arena_take(arena, 2 * groups * (size_t)p->n_bands * sizeof(v4));
    p->power = eh_arena_take(arena, 2 * groups * sizeof(v4));
    p->least = eh_arena_take(arena, 2 * groups * sizeof(v4));
    p->loudest = eh_arena_take(arena, groups * sizeof(v4));
    p->is_source = eh_arena_take(arena, groups * sizeof(v4));
    p->cross = eh_arena_take(arena, quads * (size_t)p->n_bins * 2 * sizeof(v4));
    p->own = eh_arena_take(arena, quads * (size_t)p->n_bands * 2 * sizeof(v4));
    p->quad = eh_arena_take(arena, quads * sizeof(eh_quad));
}

void eh_pairs_reset(eh_pairs *p) {
    const size_t groups = (size_t)p->n_groups, quads = (size_t)p->n_quads;
    memset(p->spectrum, 0, 2 * groups * (size_t)p->n_bins * 2 * sizeof(v4));
    memset(p->band, 0, 2 * groups * (size_t)p->n_bands * sizeof(v4));
    memset(p->power, 0, 2 * groups * sizeof(v4));
    memset(p->least, 0, 2 * groups * sizeof(v4));
    memset(p->loudest, 0, groups * sizeof(v4));
    memset(p->cross, 0, quads * (size_t)p->n_bins * 2 * sizeof(v4));
    memset(p->own, 0, quads * (size_t)p->n_bands * 2 * sizeof(v4));
    memset(p->is_source, 0, groups * sizeof(v4));
    memset(p->quad, 0, quads * sizeof(eh_quad));
    for (size_t i = 0; i < quads; i++) p->quad[i].coherence = v4_set1(-1.0f);
    p->next_visit = p->buffer = 0;
}

// A frame is the channel's own unless some louder channel is its origin, or may yet turn out to be.
static v4 is_source(const eh_pairs *p, int group) {
    const size_t before = (size_t)((p->buffer ^ 1) * p->n_groups);
    const v4 power = p->power[before + (size_t)group], zero = v4_set1(0.0f);
    v4i is_own = power > p->least[before + (size_t)group];
    for (int c = 0; c < p->n_groups * 4; c++) {
        const v4 coherence = p->quad[c * p->n_groups + group].coherence;
        const v4i is_louder = v4_set1(p->power[before + (size_t)(c / 4)][c % 4]) > power * LOUDER_POWER;
        is_own &= ~(is_louder & ((coherence > v4_set1(ORIGIN_COHERENCE)) | (coherence < zero)));
    }
    return v4_select(is_own, v4_set1(1.0f), zero);
}

void eh_pairs_begin_cycle(eh_pairs *p) {
    p->buffer ^= 1;
    for (int group = 0; group < p->n_groups; group++) p->is_source[group] = is_source(p, group);
}

const v4 *eh_pairs_latest_power(const eh_pairs *p) { return p->power + (p->buffer ^ 1) * p->n_groups; }

void eh_pairs_take(eh_pairs *p, int group, const v4 *spectrum, v4 least_power) {
    const size_t slot = (size_t)(p->buffer * p->n_groups + group);
    v4 *scaled = p->spectrum + slot * (size_t)p->n_bins * 2, *band = p->band + slot * (size_t)p->n_bands;
    const v4 *x = spectrum + (size_t)(p->first_bin * 2) * 2;
    v4 total = v4_set1(0.0f);
    for (int b = 0, j = 0; b < p->n_bands; b++) {
        v4 sum = v4_set1(0.0f);
        for (int end = j + EH_PAIR_BAND_BINS < p->n_bins ? j + EH_PAIR_BAND_BINS : p->n_bins; j < end; j++)
            sum = v4_fma(x[4 * j], x[4 * j], v4_fma(x[4 * j + 1], x[4 * j + 1], sum));
        band[b] = sum;
        total += sum;
    }
    // Hann window: the mean of its square is 3/8; every other bin was left out.
    p->power[slot] = total * (4.0f / (EH_SLOW_FRAMES * (EH_SLOW_FRAMES * 0.375f)));
    p->least[slot] = least_power;
    // All loud frames count alike, so that one shout is not the whole picture; soft ones count less, for their noise.
    p->loudest[group] = v4_max(total, p->loudest[group] * p->loudest_keep);
    const v4 scale = v4_set1(1.0f) / v4_sqrt(v4_max(p->loudest[group], v4_set1(1e-20f))), scale2 = scale * scale;
    for (int b = 0; b < p->n_bands; b++) band[b] *= scale2;
    for (int j = 0; j < p->n_bins; j++) {
        scaled[2 * j] = x[4 * j] * scale;
        scaled[2 * j + 1] = x[4 * j + 1] * scale;
    }
}

static void learn(eh_pairs *p, int a, int group) {
    const int index = a * p->n_groups + group, lane = a % 4;
    const size_t before = (size_t)((p->buffer ^ 1) * p->n_groups);
    const size_t slot_a = before + (size_t)(a / 4), slot_b = before + (size_t)group;
    const v4 power_a = v4_set1(p->power[slot_a][lane]), power_b = p->power[slot_b], gate = v4_set1(GATE_POWER);
    eh_quad *quad = &p->quad[index];
    const v4i is_own = v4_set1(p->is_source[a / 4][lane]) > v4_set1(0.0f);
    const v4i counts = is_own & (power_a > gate) & (power_b > gate) & (power_a >= power_b * QUIETER_POWER);
    const v4 one = v4_set1(1.0f), zero = v4_set1(0.0f);
    const v4 memory = v4_set1(p->keep);
    quad->presence = v4_fma(quad->presence - v4_select(counts, one, zero), memory, v4_select(counts, one, zero));
    if (!v4_any(counts)) return;
    // A plain mean until there is as much as the memory holds.
    const v4 so_far = v4_min(quad->n_frames / (quad->n_frames + one), memory);
    const v4 keep = v4_select(counts, so_far, one), gain = one - keep;
    quad->n_frames = v4_min(quad->n_frames + v4_select(counts, one, zero), v4_set1(1e6f));
    quad->power_a = v4_fma(power_a, gain, quad->power_a * keep);
    quad->power_b = v4_fma(power_b, gain, quad->power_b * keep);
    const v4 *band_a = p->band + slot_a * (size_t)p->n_bands, *band_b = p->band + slot_b * (size_t)p->n_bands;
    v4 *own = p->own + (size_t)index * (size_t)p->n_bands * 2;
    for (int b = 0; b < p->n_bands; b++) {
        own[2 * b] = v4_fma(v4_set1(band_a[b][lane]), gain, own[2 * b] * keep);
        own[2 * b + 1] = v4_fma(band_b[b], gain, own[2 * b + 1] * keep);
    }
    const v4 *spectrum_a = p->spectrum + slot_a * (size_t)p->n_bins * 2;
    const v4 *spectrum_b = p->spectrum + slot_b * (size_t)p->n_bins * 2;
    v4 *cross = p->cross + (size_t)index * (size_t)p->n_bins * 2;
    for (int j = 0; j < p->n_bins; j++) {  // conj(A) B: its phase falls with the delay of b
        const v4 a_re = v4_set1(spectrum_a[2 * j][lane]), a_im = v4_set1(spectrum_a[2 * j + 1][lane]);
        const v4 b_re = spectrum_b[2 * j] * gain, b_im = spectrum_b[2 * j + 1] * gain;
        cross[2 * j] = v4_fma(a_re, b_re, v4_fma(a_im, b_im, cross[2 * j] * keep));
        cross[2 * j + 1] = v4_fma(a_re, b_im, v4_fnma(a_im, b_re, cross[2 * j + 1] * keep));
    }
}

void eh_pairs_learn(eh_pairs *p, int first, int end) {
    for (int index = first; index < end; index++) learn(p, index / p->n_groups, index % p->n_groups);
}

// Lag of the largest |r|, with its fraction, in the lanes where it stands out.
static void find_delay(const eh_pairs *p, const v4 *r, eh_quad *quad, v4i is_broadband) {
    const int max_lag = p->max_lag;
    v4 sum = v4_set1(0.0f), peak = sum, lag = sum;
    for (int i = 0; i < EH_PAIR_FFT; i++) sum += v4_abs(r[i]);
    for (int i = -max_lag; i <= max_lag; i++) {
        const v4 height = v4_abs(r[i & (EH_PAIR_FFT - 1)]);
        const v4i higher = height > peak;
        peak = v4_select(higher, height, peak);
        lag = v4_select(higher, v4_set1((float)i), lag);
    }
    const v4i stands_out = (peak > sum * (PEAK_OVER_MEAN / EH_PAIR_FFT)) & is_broadband;
    for (int lane = 0; lane < 4; lane++) {
        if (!stands_out[lane]) continue;
        const int i = (int)lag[lane];
        const float before = v4_abs(r[(i - 1) & (EH_PAIR_FFT - 1)])[lane];
        const float after = v4_abs(r[(i + 1) & (EH_PAIR_FFT - 1)])[lane];
        const float bend = 2.0f * peak[lane] - before - after;
        float shift = bend > 0.0f ? 0.5f * (after - before) / bend : 0.0f;
        shift = shift < -0.5f ? -0.5f : shift > 0.5f ? 0.5f : shift;
        quad->delay_ms[lane] = ((float)i + shift) * 1000.0f / p->rate_hz;
    }
}

// Knapp and Carter, "The generalized correlation method for estimation of time delay", IEEE TASSP 24, 1976.
static void judge(eh_pairs *p, int index, v4 *scratch) {
    eh_quad *quad = &p->quad[index];
    const v4 *cross = p->cross + (size_t)index * (size_t)p->n_bins * 2;
    const v4 *own = p->own + (size_t)index * (size_t)p->n_bands * 2;
    const v4 zero = v4_set1(0.0f), tiny = v4_set1(1e-18f);
    const v4i is_known = quad->n_frames >= v4_set1(MIN_FRAMES);
    v4 *whitened = scratch, *z = scratch + EH_PAIR_FFT + 2, *r = z + EH_PAIR_FFT;
    v4 explained = zero, power_b = zero, sum = zero, sum_of_squares = zero;
    if (!v4_any(is_known)) return;
    // Share of b's power that a explains. |S| may be summed over a band, whose bins the path treats alike.
    for (int b = 0, j = 0; b < p->n_bands; b++) {
        v4 band_sum = zero;
        for (int end = j + EH_PAIR_BAND_BINS < p->n_bins ? j + EH_PAIR_BAND_BINS : p->n_bins; j < end; j++) {
            const v4 square = v4_fma(cross[2 * j], cross[2 * j], cross[2 * j + 1] * cross[2 * j + 1]);
            const v4 size = v4_sqrt(square), inverse = v4_set1(1.0f) / v4_max(size, tiny);
            band_sum += size;
            sum_of_squares += square;
            whitened[2 * (p->first_bin + j)] = cross[2 * j] * inverse;
            whitened[2 * (p->first_bin + j) + 1] = cross[2 * j + 1] * inverse;
        }
        sum += band_sum;
        explained += band_sum * band_sum / v4_max(own[2 * b], tiny);
        power_b += own[2 * b + 1];
    }
    const v4 coherence = v4_min(explained / v4_max(power_b, tiny), v4_set1(1.0f));
    quad->coherence = v4_select(is_known, coherence, quad->coherence);
    if (!v4_any(quad->coherence > v4_set1(WORTH_A_DELAY))) return;
    for (int j = 0; j < 2 * p->first_bin; j++) whitened[j] = zero;
    for (int j = 2 * (EH_PAIR_LAST_BIN + 1); j < EH_PAIR_FFT + 2; j++) whitened[j] = zero;
    eh_fft_inverse(&p->fft, whitened, z, r);
    const v4i is_broadband = (sum * sum > sum_of_squares * BROADBAND_BINS) & (quad->coherence > v4_set1(WORTH_A_DELAY));
    find_delay(p, r, quad, is_broadband);
}

void eh_pairs_judge(eh_pairs *p, v4 *scratch) {
    for (int i = 0; i < p->n_visits; i++) {
        judge(p, p->next_visit, scratch);
        p->next_visit = (p->next_visit + 1) % p->n_quads;
    }
}
