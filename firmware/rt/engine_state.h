// Inside of the engine, shared by its own files only.
#pragma once

#include "engine.h"
#include "mailbox.h"
#include "tap_ring.h"

// Buses in the order of the mix: the outputs first, then what feeds the effects.
enum {
    BUS_MAIN_L = 0,
    BUS_MAIN_R = 1,
    BUS_RECORD_L = 2,
    BUS_RECORD_R = 3,
    BUS_AUX = 4,
    BUS_MONITOR_L = 10,
    BUS_MONITOR_R = 11,
    BUS_REVERB = 12,
    BUS_DELAY = 13,
    N_BUSES = 16,
};

enum { FX_REVERB, FX_DELAY, N_FX };

// Sections of the strip's EQ behind its high-pass, and of a bus's EQ.
enum { STRIP_TILT = EH_N_EQ_BANDS, STRIP_UNMASK = STRIP_TILT + 1, N_STRIP_SECTIONS = STRIP_UNMASK + EH_N_UNMASK_BANDS };
enum { BUS_TILT = EH_N_EQ_BANDS, BUS_NOTCH = BUS_TILT + 1, N_BUS_SECTIONS = BUS_NOTCH + EH_N_NOTCHES };

struct eh_engine {
    eh_engine_config config;
    int n_lanes;         // of the strips, a multiple of 4
    int n_tap_lanes;     // channels, rounded up to a multiple of 4
    int is_straight;     // capture lanes are strip lanes: no patching
    int taps_are_lanes;  // each channel is the lane of its number: no copying for the taps
    int first_lane[EH_N_CHANNEL];
    int lane_channel[EH_MAX_LANES];                          // -1: padding
    int default_source[EH_MAX_LANES], source[EH_MAX_LANES];  // capture lane, -1: none

    eh_mailbox own_mailbox;
    eh_mailbox *mailbox;            // its own, or one in shared memory
    eh_params params, incoming;     // as taken over; on the way
    float fader_lin[EH_N_CHANNEL];  // fader, mute and DCA in one
    int has_key;                    // in this block
    int is_fresh;                   // nothing sounded yet: parameters jump

    eh_gain trim;
    eh_align align;
    eh_eq hpf, eq;
    eh_gate gate;
    eh_compressor compressor;
    eh_saturation saturation;
    eh_automix automix;
    eh_ducker ducker, bus_ducker;
    eh_mix key_mix, pre_mix, post_mix;
    eh_reverb reverb;
    eh_delay delay;
    eh_eq bus_eq;
    eh_gain bus_gain, monitor_feed, panic;
    eh_limiter limiter;
    eh_loudness loudness;
    eh_meters input_meters, output_meters, bus_meters;
    eh_tap_ring taps;
    eh_features features;
    eh_chroma chroma;

    uint32_t n_bad[EH_MAX_LANES], n_clipped[EH_MAX_LANES];
    eh_engine_stats stats;
    float *x;                       // (EH_MAX_BLOCK_FRAMES, n_lanes)
    float *buses;                   // (EH_MAX_BLOCK_FRAMES, N_BUSES)
    float *tap;                     // (EH_MAX_BLOCK_FRAMES, n_tap_lanes)
    float *key, *monitor;           // (EH_MAX_BLOCK_FRAMES, 4) each; the key then (EH_MAX_BLOCK_FRAMES,)
    float *send[N_FX], *wet[N_FX];  // (EH_MAX_BLOCK_FRAMES,), (EH_MAX_BLOCK_FRAMES, 2)
};

enum { EH_N_WET = 2 };

static inline size_t eh_block_bytes(int n_lanes) { return EH_MAX_BLOCK_FRAMES * (size_t)n_lanes * sizeof(float); }

// engine_layout.c: every ramp at its end, every filter without memory.
void eh_engine_jump(eh_engine *e) EH_RT;
// engine_params.c: turns a snapshot into kernel settings, touching only what changed.
void eh_engine_take_over(eh_engine *e, const eh_params *params) EH_RT;
