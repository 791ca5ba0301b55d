// Resampler for a ratio near 1 that may move: joins a card to the clock of another.
//
// ratio is input frames per output frame. 48 taps of a windowed sinc in 256 phases, linear between phases; the weights
// of a frame are computed once and serve all lanes. Output frame n is the input 24 frames before the place
// n * ratio; at ratio 1 it is that input frame bit for bit. What comes out depends neither on how the input is cut
// into pushes nor on how the output is cut into pulls. A NaN or Inf is heard for 48 frames and then forgotten.
#pragma once

#include "types.h"

enum {
    EH_RESAMPLER_TAPS = 48,
    EH_RESAMPLER_DELAY_FRAMES = 24,     // of the input
    EH_RESAMPLER_BUFFER_FRAMES = 1024,  // 47 of them hold the past
};

typedef struct {
    int n_lanes;
    float *memory;                              // layout in resampler.c
    int32_t first, end;                         // buffer frames: of the next output frame's first tap, behind the last
    int64_t fraction, step, target, step_step;  // in 2^-44 frames: place between two input frames, ratio, its ramp
    int32_t ramp_left;                          // output frames
} eh_resampler;

size_t eh_resampler_size_bytes(int n_lanes);
// Refuses a ratio outside 0.9 to 1.1: 44.1 to 48 kHz and back are inside.
eh_status eh_resampler_init(eh_resampler *r, int n_lanes, double ratio, void *memory);
// The ratio, clamped to 0.9 to 1.1, is reached on a line over ramp_frames output frames; the phase never jumps.
void eh_resampler_set(eh_resampler *r, double ratio, int32_t ramp_frames) EH_RT;
void eh_resampler_reset(eh_resampler *r) EH_RT;
// Takes frames until the buffer is full; returns how many it took. It takes 900 when all that was given is pulled.
size_t eh_resampler_push(eh_resampler *r, const float *in, size_t n_frames) EH_RT;
// Gives frames until the input ends; returns how many it gave.
size_t eh_resampler_pull(eh_resampler *r, float *out, size_t n_frames) EH_RT;
// Input frames still to be pushed before n_frames, at most 100000, can be pulled.
size_t eh_resampler_needed_frames(const eh_resampler *r, size_t n_frames) EH_RT;
// Input pushed and not yet used, with the fraction: falls by the ratio with each output frame.
double eh_resampler_backlog_frames(const eh_resampler *r) EH_RT;
double eh_resampler_ratio(const eh_resampler *r) EH_RT;  // of the next output frame
