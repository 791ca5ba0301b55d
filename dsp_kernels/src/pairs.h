// Coherence and delay of every ordered pair of channels, from the long spectra: a little of it in every hop.
//
// Pair (a, b) learns only from frames in which a is not the quieter one and does not itself hear a third channel:
// talkers who take turns would blur each other's picture. A quad is channel a with the four channels b of a group.
#pragma once

#include "fft.h"
#include "slow_spectrum.h"

enum {
    EH_PAIR_FFT = EH_SLOW_FRAMES / 2,  // every other bin: lags to +/- a quarter of the window
    EH_PAIR_LAST_BIN = EH_SLOW_LAST_BIN / 2,
    EH_PAIR_BAND_BINS = 8,
    EH_PAIR_MAX_BANDS = EH_PAIR_LAST_BIN / EH_PAIR_BAND_BINS + 1,
};

// What is known of a quad; coherence is -1 before it was judged. Powers are means over the frames it learnt from.
typedef struct {
    v4 n_frames, presence, power_a, power_b, coherence, delay_ms;
} eh_quad;

typedef struct {
    int n_groups, n_quads, first_bin, n_bins, n_bands, max_lag, next_visit, n_visits, buffer;
    float rate_hz, keep, loudest_keep;
    eh_fft fft;
    v4 *spectrum;   // (2, n_groups, n_bins, 2): scaled; the buffer of this cycle and of the one before
    v4 *band;       // (2, n_groups, n_bands): power of the scaled spectrum
    v4 *power;      // (2, n_groups): mean square of the frame
    v4 *least;      // (2, n_groups): power above which the channel counts as a source
    v4 *loudest;    // (n_groups): power of the loudest frame lately
    v4 *is_source;  // (n_groups): 1 where the frame of the cycle before is the channel's own
    v4 *cross;      // (n_quads, n_bins, 2)
    v4 *own;        // (n_quads, n_bands, 2): band powers of a and b over the same frames as cross
    eh_quad *quad;  // (n_groups * 4, n_groups)
} eh_pairs;

void eh_pairs_init(eh_pairs *p, const eh_slow *slow, eh_arena *arena);
void eh_pairs_reset(eh_pairs *p);
// The spectra taken so far become those that are learnt from.
void eh_pairs_begin_cycle(eh_pairs *p);
// Takes the long spectrum of a group for the next cycle. least_power: under it a channel is no source of sound.
void eh_pairs_take(eh_pairs *p, int group, const v4 *spectrum, v4 least_power);
// Mean squares of the frames of the cycle before, (n_groups).
const v4 *eh_pairs_latest_power(const eh_pairs *p);
// Learns from the cycle before, for quads [first, end).
void eh_pairs_learn(eh_pairs *p, int first, int end);
// Judges the next few quads. scratch: 3 * EH_PAIR_FFT vectors.
void eh_pairs_judge(eh_pairs *p, v4 *scratch);
