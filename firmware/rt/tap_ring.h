// What the audio thread hands to the analysis thread: two taps of every channel, through a ring without locks.
// One writer (audio), one reader (analysis). A full ring drops the newest frames and counts them.
#pragma once

#include <stdatomic.h>

#include "evenhand/types.h"

enum { EH_TAP_RING_FRAMES = 8192 };  // 170 ms at 48 kHz

typedef struct {
    float *input, *strip;  // (EH_TAP_RING_FRAMES, n_lanes), one lane a channel
    int n_lanes;
    // The frame that lies at the start of the memory. The writer moves it to the next frame whenever the reader has
    // caught up, so that the ring takes no more of the cache than the reader lags behind.
    size_t first;
    atomic_size_t n_written, n_read;  // frames since reset
    atomic_size_t n_dropped;
} eh_tap_ring;

size_t eh_tap_ring_size_bytes(int n_lanes);
void eh_tap_ring_init(eh_tap_ring *t, int n_lanes, void *memory);
// Writer: room for n_frames? If not, they are counted as dropped. Then both taps, each once, then commit.
int eh_tap_ring_has_room(eh_tap_ring *t, size_t n_frames) EH_RT;
void eh_tap_ring_put_input(eh_tap_ring *t, const float *frames, size_t n_frames) EH_RT;
void eh_tap_ring_put_strip(eh_tap_ring *t, const float *frames, size_t n_frames) EH_RT;
void eh_tap_ring_commit(eh_tap_ring *t, size_t n_frames) EH_RT;
// Reader: what lies ready without wrapping; then how much of it was used.
size_t eh_tap_ring_peek(const eh_tap_ring *t, const float **input, const float **strip);
void eh_tap_ring_consume(eh_tap_ring *t, size_t n_frames);
