// What the files of the automixer share: its memory, and the steps of one gain computation ("tick", 16 frames).
//
// Channels sit in slots: the members of a group side by side, each group padded to whole vectors, so that a mode is a
// plain loop over vectors. Padding has no share. Powers and gains that are smoothed are log2 of POWER: 1 is 3.01 dB.
#pragma once

#include <stdbool.h>

#include "evenhand/automix.h"
#include "simd.h"

enum {
    AUTOMIX_SLOTS = 64,                // 32 channels in 9 groups of whole vectors need 56 at most
    AUTOMIX_REST_SLOT = 60,            // never taken: gain 1, for lanes of no group
    AUTOMIX_REST_LANE = EH_MAX_LANES,  // power 0, for padding
    AUTOMIX_LISTENERS = EH_N_GROUP,    // group of channels that are only heard, as ambience
    AUTOMIX_GROUPS = EH_N_GROUP + 1,
    AUTOMIX_SLOW_TICKS = 16,  // noise floors and correlations move at this pace: 5.3 ms at 48 kHz
};

#define AUTOMIX_EPS_POWER 1e-8f                // -80 dBFS: in silence all share alike
#define AUTOMIX_EPS_LOG2 -26.5754248f          // log2 of it
#define AUTOMIX_OPEN_LOG2 -1.0f                // above -3 dB a microphone counts as open (last hold)
#define AUTOMIX_FLOOR_START_LOG2 -19.9315686f  // -60 dBFS: a noise floor before anything was heard

// Values that ramp to a target.
enum { RAMP_WEIGHT, RAMP_SHARE, RAMP_AUTO, RAMP_MANUAL, N_RAMPS };

// Values of a slot. They move with the channel when groups change.
enum {
    SLOT_NOW,  // the ramps' values, then their targets, then their steps
    SLOT_TARGET = SLOT_NOW + N_RAMPS,
    SLOT_STEP = SLOT_TARGET + N_RAMPS,
    SLOT_POWER = SLOT_STEP + N_RAMPS,  // detector: mean square in the speech band
    SLOT_OWN_WEIGHT,                   // weight without the fader, against the channel's own noise floor
    SLOT_SMOOTH,                       // speech: weighed power, log2; music and gated: gain, log2 of power
    SLOT_LINEAR,                       // 2^smooth times share, within the tick
    SLOT_GAIN_AUTO,
    SLOT_GAIN_FROM,  // what the mode gives; what it gave when the mode changed
    SLOT_GAIN,       // what the lanes get
    SLOT_LEVEL,      // weighed power, within the tick
    SLOT_FLOOR,      // noise floor, log2
    SLOT_MEAN,
    SLOT_DEVIATION,
    SLOT_VARIANCE,  // of the detector, log2; deviation from the mean within the tick
    SLOT_SOUNDING,  // 1 above the threshold
    SLOT_SOUNDING_TICKS,
    SLOT_OPEN_TICKS,
    SLOT_HOLD_TICKS,
    SLOT_IS_OPEN,
    SLOT_IS_BLEED,  // gated
    N_SLOT_VALUES,
};

typedef struct {
    eh_automix_params params;
    float fader_lin;
    int group, slot;       // -1 and AUTOMIX_REST_SLOT for none
    float weight_ramp_ms;  // of the next change of weight
    bool is_changed;
} automix_channel;

typedef struct {
    eh_share_params params;
    bool is_changed;
    int mode, first, n_slots;  // slots with padding
    int ambience;              // channel or -1
    int last;                  // channel or -1
    int max_open;
    float detector_rise, detector_fall, attack_coeff, release_coeff;
    float fast_release;  // speech, 0 to 1: how much of the release gives way, see automix_speech.c
    float threshold_log2, depth_log2, hold_ticks;
    float nom, nom_limit, nom_limit_target;
    float fade, fade_step;  // 1 to 0 from the gains of the mode before
} automix_group;

typedef struct {
    // Lanes.
    float boxcar[EH_MAX_LANES], low[EH_MAX_LANES], band[EH_MAX_LANES];  // band-pass
    float square[EH_MAX_LANES];                                         // sum within the tick
    float gain[EH_MAX_LANES], step[EH_MAX_LANES];
    float power[EH_MAX_LANES + 4];
    int lane_channel[EH_MAX_LANES], lane_slot[EH_MAX_LANES];
    int slot_lane[AUTOMIX_SLOTS];  // first lane of the slot's channel
    // A vector of lanes whose slots are neighbours too, and the other way round: loaded as one.
    bool is_lane_run[EH_MAX_LANES / EH_LANES_PER_VECTOR], is_slot_run[AUTOMIX_SLOTS / EH_LANES_PER_VECTOR];
    float lane_share[AUTOMIX_SLOTS];                                // 1 by the number of its lanes
    int n_more, more_lane[EH_MAX_LANES], first_lane[EH_MAX_LANES];  // its other lanes, each with the first
    bool is_active[EH_MAX_LANES / EH_LANES_PER_VECTOR + 1];         // by vector; the last stays false
    bool is_any_active;
    // Rates.
    float tick_hz, band_coeff, power_scale;
    int boxcar_frames;
    float floor_fall_coeff, floor_rise_coeff, floor_steady_coeff, floor_sounding_coeff, mean_coeff, variance_coeff;
    int phase, slow_phase;  // frames within the tick, ticks within the slow tick
    // Channels.
    float slot[N_SLOT_VALUES][AUTOMIX_SLOTS];
    int slot_channel[AUTOMIX_SLOTS];  // -1 for padding
    int n_slots;
    int ramp_ticks_left;  // longest ramp under way
    bool is_changed, is_map_changed;
    automix_channel channel[EH_N_CHANNEL];
    automix_group group[AUTOMIX_GROUPS];
    int n_used, used[AUTOMIX_GROUPS];                   // groups that have members, listeners included
    float covariance[AUTOMIX_SLOTS][EH_N_CHANNEL + 4];  // gated: of levels, column counts from the group's first slot
} automix_state;

// automix_lanes.c: audio of a tick or of part of one; the last part gives the lanes' powers.
void automix_lanes(automix_state *s, const float *in, float *out, int n_lanes, int n_frames) EH_RT;
// automix_roster.c: brings what was set into slots and ramps; is_jump ends all crossfades.
void automix_apply(automix_state *s, int n_lanes, bool is_jump) EH_RT;
void automix_ramp(automix_state *s) EH_RT;
void automix_set_detector(automix_state *s, automix_group *g, float detector_ms) EH_RT;
void automix_mode_start(automix_state *s, const automix_group *g, int slot) EH_RT;
// One mode each: SLOT_POWER to SLOT_GAIN_AUTO. Speech takes all its groups at once.
void automix_speech(automix_state *s) EH_RT;
void automix_music(automix_state *s, automix_group *g) EH_RT;
void automix_gated(automix_state *s, automix_group *g) EH_RT;
void automix_gated_correlate(automix_state *s, automix_group *g) EH_RT;  // each slow tick
// automix_open.c, what music and gated mode share.
void automix_open_init(automix_state *s);
void automix_open_floors(automix_state *s, automix_group *g) EH_RT;  // each slow tick
void automix_open_gains(automix_state *s, automix_group *g) EH_RT;   // NOM and gains out of SLOT_SMOOTH
void automix_open_last(automix_state *s, automix_group *g) EH_RT;    // who spoke last

static inline v4 automix_gather(const float *from, const int *index, bool is_run) {
    if (is_run) return v4_load(from + index[0]);
    return (v4){from[index[0]], from[index[1]], from[index[2]], from[index[3]]};
}
static inline float automix_sum(v4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }
static inline v4 automix_mask(v4i mask) { return (v4)((v4i)v4_set1(1.0f) & mask); }  // 1 or 0
// Smoothing that rises by one coefficient and falls by another.
static inline v4 automix_follow(v4 now, v4 target, v4 rise, v4 fall) {
    const v4 d = target - now;
    return v4_fma(v4_select(d > 0.0f, rise, fall), d, now);
}
