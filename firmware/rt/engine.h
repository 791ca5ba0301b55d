// The mixer: a fixed graph over the kernels, in one arena, the same for every frontend.
//
// Threads: process belongs to the audio thread, analyse to the analysis thread, publish to control; each may run while
// the others do. read_meters belongs to the audio thread's side (a frontend calls it between blocks).
#pragma once

#include "evenhand/evenhand.h"

enum {
    EH_N_OUTPUTS = 12,  // main L R, record L R, aux 1 to 6, monitor L R
    EH_MAX_CAPTURE_LANES = 64,
};

typedef struct {
    float sample_rate_hz;
    int n_capture_lanes;          // lanes of an input frame
    int n_channels;               // strips, at most EH_N_CHANNEL
    int is_stereo[EH_N_CHANNEL];  // a stereo strip takes the next capture lane too
    int keeps_channels;           // 1: process also delivers each strip behind fader and pan
} eh_engine_config;

typedef struct eh_engine eh_engine;  // lies at the start of its arena

typedef struct {
    uint64_t n_frames;        // processed since reset
    uint64_t n_healed;        // lanes reset because a filter state was not finite
    uint64_t n_taps_dropped;  // frames that analysis came too late for
    uint32_t n_snapshots;     // parameter snapshots taken over
    uint32_t n_clamped;       // parameters outside their range, put back
} eh_engine_stats;

size_t eh_engine_size_bytes(const eh_engine_config *config);  // of the arena, 64-byte aligned; 0 for a bad config
// Lays the engine out in the arena, with every parameter at its default.
eh_status eh_engine_init(eh_engine **engine, const eh_engine_config *config, void *arena);
void eh_engine_reset(eh_engine *e);  // forgets sound, keeps parameters

void eh_engine_publish(eh_engine *e, const eh_params *params);  // taken over at the next block, then ramped
// in (n_frames, n_capture_lanes), out (n_frames, EH_N_OUTPUTS), channels (n_frames, 2 * n_channels) or NULL. No
// overlap.
void eh_engine_process(eh_engine *e, const float *in, float *out, float *channels, size_t n_frames) EH_RT;
int eh_engine_latency_frames(const eh_engine *e);
// Works off what the taps hold; returns the hops completed.
int eh_engine_analyse(eh_engine *e);
// process and analyse in turn, for frontends that have no second thread: files, null.
void eh_engine_process_in_step(eh_engine *e, const float *in, float *out, float *channels, size_t n_frames);

const eh_channel_features *eh_engine_features(const eh_engine *e);           // n_channels records, of the last hop
void eh_engine_read_mix_features(const eh_engine *e, eh_mix_features *mix);  // analysis thread: all inputs, as of now
// Analysis thread: gain with which each critical band of each channel reaches the mix, (n_channels, EH_N_BARK).
void eh_engine_set_mix_gain_bark(eh_engine *e, const float *gain_lin);
void eh_engine_read_meters(eh_engine *e, eh_channel_meters *channels,
                           eh_bus_meters *buses);            // n_channels, EH_N_OUTPUTS
eh_loudness_reading eh_engine_loudness(const eh_engine *e);  // of the record bus, behind its limiter
eh_engine_stats eh_engine_read_stats(const eh_engine *e);

// Null frontend: runs n_blocks of seeded noise as fast as the machine goes, throws the sound away and returns a
// checksum over every output sample, so that nothing can be optimised out.
uint64_t eh_null_run(eh_engine *e, uint32_t seed, float level_lin, size_t n_blocks, size_t block_frames);
