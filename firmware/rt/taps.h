// What the audio thread hands to the analysis thread: two taps of every channel, through a ring without locks.
// One writer (audio), one reader (analysis). A full ring drops the newest frames and counts them.
#pragma once

#include <stdatomic.h>

#include "evenhand/types.h"

enum { EH_TAP_RING_FRAMES = 8192 };  // 170 ms at 48 kHz

typedef struct {
    float *input, *strip;  // (EH_TAP_RING_FRAMES, n_lanes), one lane a channel
    int n_lanes;
    atomic_size_t n_written, n_read;  // frames since reset
    atomic_size_t n_dropped;
} eh_taps;

size_t eh_taps_size_bytes(int n_lanes);
void eh_taps_init(eh_taps *t, int n_lanes, void *memory);
// Writer: room for n_frames? If not, they are counted as dropped. Then both taps, each once, then commit.
int eh_taps_has_room(eh_taps *t, size_t n_frames) EH_RT;
void eh_taps_put_input(eh_taps *t, const float *frames, size_t n_frames) EH_RT;
void eh_taps_put_strip(eh_taps *t, const float *frames, size_t n_frames) EH_RT;
void eh_taps_commit(eh_taps *t, size_t n_frames) EH_RT;
// Reader: what lies ready without wrapping; then how much of it was used.
size_t eh_taps_peek(const eh_taps *t, const float **input, const float **strip);
void eh_taps_consume(eh_taps *t, size_t n_frames);
