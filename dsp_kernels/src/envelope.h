// What the course of the level tells: onsets, attack, decay, crest, noise floor, syllabic modulation.
#pragma once

#include "feature_taps.h"

enum {
    EH_ENVELOPE_STEPS = 1024,  // ring of the 5 ms RMS envelope, a step is about 1 ms
    EH_LEVEL_HOPS = 8,         // ring of 20 ms powers
};

// Second-order Butterworth, state-variable form.
typedef struct {
    float g, a1, a2, a3;
} eh_slow_filter;

// The note that a channel plays or played last.
typedef struct {
    int is_rising, is_falling, n_attacks, n_decays;
    uint32_t begin_step, max_step, above_step;  // above_step: last step less than 20 dB under the maximum
    float base_lin, max_lin, attack_ms, decay_db_per_s;
} eh_note;

typedef struct {
    v4 power, crest_peak, crest_power;  // power: mean square of the hop
    v4 level[EH_LEVEL_HOPS];            // mean square of the last two hops
    v4 floor_db, mean_flux, is_armed, onset, hops_since_onset;
    v4 filter[4][2], modulation_all, modulation_syllabic;
} eh_envelope_group;

typedef struct {
    int n_groups, hop_frames;
    float step_ms, crest_keep, modulation_keep, flux_keep, floor_fall, floor_rise, floor_rise_tonal;
    eh_slow_filter filter[4];  // high-pass 0.5 Hz, low-pass 20 Hz, high-pass 3 Hz, low-pass 8 Hz
    eh_envelope_group *group;
    eh_note *note;  // (n_groups * 4)
    v4 *step_rms;   // (n_groups, EH_ENVELOPE_STEPS)
    v4 *tail;       // (n_groups, 4): powers of the last steps of the hop before
    uint32_t n_hops;
} eh_envelope;

void eh_envelope_init(eh_envelope *e, float sample_rate_hz, int n_groups, int hop_frames, eh_arena *arena);
void eh_envelope_reset(eh_envelope *e);
// Reads the sums of the hop that just ended. step_frames: frames in each step.
void eh_envelope_levels(eh_envelope *e, const eh_taps *taps, int group, const int *step_frames);
// flux, flatness and the activity of the hop before decide onsets and how fast the noise floor may rise.
void eh_envelope_notes(eh_envelope *e, int group, v4 flux, v4 flatness, v4 is_active);
void eh_envelope_end_hop(eh_envelope *e);

v4 eh_envelope_crest_db(const eh_envelope *e, int group);
v4 eh_envelope_syllabic(const eh_envelope *e, int group);
// Mean square over 20 ms, hops_ago hops ago.
v4 eh_envelope_level(const eh_envelope *e, int group, int hops_ago);
