// Keeps a ring between two clocks at its target by steering the resampler that empties it.
//
// A proportional-integral loop on the fill: wide for the first 6 s to find the other clock, narrow after 10 s, so that
// the pitch stands still. Wide again, with what it has learned, when the fill was put right by hand or got far away.
#pragma once

#include "types.h"

typedef struct {
    float sample_rate_hz;       // of the frames that the fill counts
    double smooth_frames;       // the error as the loop sees it
    double learned, answer;     // the integral, and what process returned last; 1e-6 is 1 ppm
    double natural_hz;          // of the loop: wide, narrow, or on the way
    double acquired_s, calm_s;  // since the loop is wide; since the error was last large
} eh_drift;

eh_status eh_drift_init(eh_drift *d, float sample_rate_hz);
void eh_drift_reset(eh_drift *d) EH_RT;     // forgets the other clock too
void eh_drift_recentre(eh_drift *d) EH_RT;  // the fill was put right by hand: wide again, nothing forgotten
// error_frames is fill minus target, measured once every n_frames frames. Returns by what share faster than nominal the
// ring has to be emptied, within +/- 0.001.
double eh_drift_process(eh_drift *d, double error_frames, size_t n_frames) EH_RT;
int eh_drift_is_locked(const eh_drift *d) EH_RT;  // narrow, and the error has been small for 2 s
