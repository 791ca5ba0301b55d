// Carries sound from one clock to another: from a second card's thread to the main audio thread, or back. One thread
// writes what its card captured, or what it mixed; the other reads exactly as many frames as its own card wants.
//
// Lock-free, one writer, one reader. Time comes in as an argument: CLOCK_MONOTONIC of the moment at which the frames
// were complete, as near as the caller knows. Both clocks are lines through those moments, so that neither periods nor
// late wake-ups are taken for drift. The reader resamples. It fades out before the sound ends (starved, frames lost,
// too far from the target) and in again when there is enough of it: what comes behind is late by the same delay as
// before.
#pragma once

#include "evenhand/evenhand.h"

enum { EH_SECONDARY_RESERVE_FRAMES = 64 };  // of the writer: what a fade-out needs

typedef struct {
    double writer_rate_hz, reader_rate_hz;  // nominal; their ratio from 0.9 to 1.1
    int n_lanes;                            // of a frame, a multiple of 4
    int max_write_frames, max_read_frames;  // in one call
    // From the newest frame that the writer's card has to the one that is read. At least what one write and one read
    // take and the reserve; what it is more, either thread may be late.
    int target_frames;
} eh_secondary_config;

typedef struct {
    double fill_frames;                       // measured: from the writer's newest frame to the next that is read
    double consumed_frames;                   // of the writer's: where the reader is
    double ratio;                             // writer's frames per reader's frame, now
    double drift_ppm;                         // by which the writer's clock is faster, as the loop has learned it
    uint64_t n_silent_frames;                 // read while there was nothing to hear, since the first sound
    uint64_t n_overflowed_frames;             // written into a full ring, and lost
    uint32_t n_starved, n_gaps, n_recentred;  // times that the sound was interrupted, and why
    int32_t is_sounding, is_locked;
} eh_secondary_stats;

typedef struct eh_secondary eh_secondary;  // lies at the start of its arena

size_t eh_secondary_size_bytes(const eh_secondary_config *config);  // 64-byte aligned; 0 for a bad config
eh_status eh_secondary_init(eh_secondary **s, const eh_secondary_config *config, void *arena);
int eh_secondary_delay_frames(const eh_secondary_config *config);  // target and resampler, in frames of the writer

// Writer's thread. in (n_frames, n_lanes).
void eh_secondary_write(eh_secondary *s, const float *in, size_t n_frames, int64_t now_ns) EH_RT;
void eh_secondary_writer_lost_frames(eh_secondary *s) EH_RT;  // an xrun: what is written next does not join on

// Reader's thread. out (n_frames, n_lanes), always filled.
void eh_secondary_read(eh_secondary *s, float *out, size_t n_frames, int64_t now_ns) EH_RT;
void eh_secondary_reader_lost_frames(eh_secondary *s) EH_RT;  // an xrun: time passed without a read
eh_secondary_stats eh_secondary_read_stats(const eh_secondary *s) EH_RT;
