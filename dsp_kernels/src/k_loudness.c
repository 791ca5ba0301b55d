// Sliding means of K-weighted power. Sums are made anew from the hops, so that nothing drifts and silence is silence.
#include "k_loudness.h"

#include "evenhand/types.h"
#include "spectral_math.h"

enum { N_BLOCKS = EH_SHORT_TERM_HOPS / EH_LOUDNESS_BLOCK_HOPS };

void eh_k_loudness_init(eh_k_loudness *k, int n_groups, int hop_frames, eh_arena *arena) {
    const size_t n = (size_t)n_groups * EH_N_TAPS;
    k->n_groups = n_groups;
    k->hop_frames = (float)hop_frames;
    k->hops = eh_arena_take(arena, n * EH_SHORT_TERM_HOPS * sizeof(v4));
    k->blocks = eh_arena_take(arena, n * N_BLOCKS * sizeof(v4));
}

void eh_k_loudness_reset(eh_k_loudness *k) {
    const size_t n = (size_t)k->n_groups * EH_N_TAPS;
    memset(k->hops, 0, n * EH_SHORT_TERM_HOPS * sizeof(v4));
    memset(k->blocks, 0, n * N_BLOCKS * sizeof(v4));
    k->newest = -1;
}

void eh_k_loudness_next(eh_k_loudness *k) { k->newest = (k->newest + 1) % EH_SHORT_TERM_HOPS; }

static v4 sum_of(const v4 *x, int n) {
    v4 even = v4_set1(0.0f), odd = even;
    for (int i = 0; i + 1 < n; i += 2) {
        even += x[i];
        odd += x[i + 1];
    }
    return n % 2 ? even + odd + x[n - 1] : even + odd;
}

static v4 lufs(v4 mean_square) {  // BS.1770-4
    return v4_max(v4_power_to_db(mean_square, -200.0f) - 0.691f, v4_set1(EH_SILENCE_DBFS));
}

void eh_k_loudness_take(eh_k_loudness *k, const eh_taps *taps, int group, int tap, v4 *momentary_lufs,
                        v4 *short_term_lufs) {
    const size_t row = (size_t)(group * EH_N_TAPS + tap);
    v4 *hops = k->hops + row * EH_SHORT_TERM_HOPS, *blocks = k->blocks + row * N_BLOCKS;
    const int block = k->newest / EH_LOUDNESS_BLOCK_HOPS, end = k->newest + 1;
    hops[k->newest] = taps->k_sum[row] / k->hop_frames;
    blocks[block] = sum_of(hops + block * EH_LOUDNESS_BLOCK_HOPS, EH_LOUDNESS_BLOCK_HOPS);
    v4 momentary;
    if (end >= EH_MOMENTARY_HOPS)
        momentary = sum_of(hops + end - EH_MOMENTARY_HOPS, EH_MOMENTARY_HOPS);
    else
        momentary =
            sum_of(hops, end) + sum_of(hops + EH_SHORT_TERM_HOPS - EH_MOMENTARY_HOPS + end, EH_MOMENTARY_HOPS - end);
    *momentary_lufs = lufs(momentary * (1.0f / EH_MOMENTARY_HOPS));
    *short_term_lufs = lufs(sum_of(blocks, N_BLOCKS) * (1.0f / EH_SHORT_TERM_HOPS));
}
