// Decimation and the long window.
#include "slow_spectrum.h"

#include "units.h"

enum { TAPS_PER_OUTPUT = 8 };

void eh_slow_init(eh_slow *s, float sample_rate_hz, int fft_frames, int n_groups, eh_arena *arena) {
    const size_t n = (size_t)n_groups;
    s->n_groups = n_groups;
    s->factor = fft_frames / 256;
    s->n_taps = TAPS_PER_OUTPUT * s->factor;
    s->rate_hz = sample_rate_hz / (float)s->factor;
    s->bin_hz = s->rate_hz / EH_SLOW_FRAMES;
    eh_fft_init(&s->fft, EH_SLOW_FRAMES, arena);
    s->taps = eh_arena_take(arena, (size_t)(s->n_taps / 2) * sizeof(v4));
    s->window = eh_arena_take(arena, EH_SLOW_FRAMES * sizeof(float));
    s->ring = eh_arena_take(arena, n * EH_SLOW_RING_FRAMES * sizeof(v4));
    if (!arena->base) return;
    double sine, cosine, sum = 0.0, taps[TAPS_PER_OUTPUT * 16];
    for (int i = 0; i < s->n_taps; i++) {  // sinc of 0.42 of the decimated rate, Hann window
        const double x = i - 0.5 * (s->n_taps - 1), turns = 0.42 * x / s->factor;
        const int whole = (int)(turns + (turns < 0 ? -0.5 : 0.5));
        eh_sincos(2 * EH_PI * (turns - whole), &sine, &cosine);
        const double sinc = x == 0.0 ? 1.0 : sine / (2 * EH_PI * turns);
        eh_sincos(EH_PI * x / s->n_taps, &sine, &cosine);
        sum += taps[i] = sinc * cosine * cosine;
    }
    for (int i = 0; i < s->n_taps / 2; i++) s->taps[i] = v4_set1((float)(taps[i] / sum));
    for (int i = 0; i < EH_SLOW_FRAMES; i++) {
        eh_sincos(EH_PI * ((double)i / EH_SLOW_FRAMES - 0.5), &sine, &cosine);
        s->window[i] = (float)(cosine * cosine);
    }
}

void eh_slow_reset(eh_slow *s) {
    const size_t n = (size_t)s->n_groups;
    memset(s->ring, 0, n * EH_SLOW_RING_FRAMES * sizeof(v4));
    s->n_decimated = s->window_end = 0;
    s->phase = 0;
}

static inline v4 filtered(const v4 *x, const v4 *taps, int n_taps) {
    v4 sum[4] = {v4_set1(0.0f), v4_set1(0.0f), v4_set1(0.0f), v4_set1(0.0f)};
    for (int i = 0; i < n_taps / 2; i += 4)
        for (int j = 0; j < 4; j++) sum[j] = v4_fma(x[i + j] + x[n_taps - 1 - i - j], taps[i + j], sum[j]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void eh_slow_decimate(eh_slow *s, const eh_taps *taps, uint32_t end, int hop_frames) {
    const uint32_t factor = (uint32_t)s->factor, mask = taps->ring_frames - 1, n_taps = (uint32_t)s->n_taps;
    const uint32_t ready = end & ~(factor - 1), skip = (end - (uint32_t)hop_frames) & ~(factor - 1);
    const int n_new = (int)((ready - skip) / factor);
    v4 wrapped[TAPS_PER_OUTPUT * 16];
    for (int group = 0; group < s->n_groups; group++) {
        const v4 *x = taps->ring + (size_t)group * taps->ring_frames;
        v4 *out = s->ring + (size_t)group * EH_SLOW_RING_FRAMES;
        for (int i = 0; i < n_new; i++) {
            const uint32_t first = (skip + (uint32_t)(i + 1) * factor - n_taps) & mask;
            const v4 *window = x + first;
            if (first + n_taps > taps->ring_frames) {
                for (uint32_t j = 0; j < n_taps; j++) wrapped[j] = x[(first + j) & mask];
                window = wrapped;
            }
            out[(s->n_decimated + (uint32_t)i) & (EH_SLOW_RING_FRAMES - 1)] = filtered(window, s->taps, s->n_taps);
        }
    }
    s->n_decimated += (uint32_t)n_new;
    if (s->phase == 0) s->window_end = s->n_decimated;
}

void eh_slow_end_hop(eh_slow *s) { s->phase = (s->phase + 1) % EH_SLOW_CYCLE_HOPS; }

void eh_slow_turn(const eh_slow *s, int n, int *first, int *end) {
    *first = n * s->phase / EH_SLOW_CYCLE_HOPS;
    *end = n * (s->phase + 1) / EH_SLOW_CYCLE_HOPS;
}

void eh_slow_transform(const eh_slow *s, int group, v4 *z, v4 *spectrum) {
    const v4 *x = s->ring + (size_t)group * EH_SLOW_RING_FRAMES;
    const uint32_t first = s->window_end - EH_SLOW_FRAMES;
    for (uint32_t i = 0; i < EH_SLOW_FRAMES; i++) z[i] = x[(first + i) & (EH_SLOW_RING_FRAMES - 1)] * s->window[i];
    eh_fft_forward(&s->fft, z, spectrum);
}
