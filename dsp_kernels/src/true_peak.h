// Peaks between the samples: four times oversampling, shared by the limiter and the loudness meter.
#pragma once

#include <stddef.h>

// The interpolator looks at 12 samples and sees what lies between the sixth and the seventh.
enum { EH_TRUE_PEAK_TAPS = 12, EH_TRUE_PEAK_DELAY_FRAMES = 6 };
// No point between samples exceeds the samples around it more than this: sum of the largest taps, 1.8642.
#define EH_TRUE_PEAK_OVERSHOOT_LIN 1.865f

// x (n_frames, 4) with 11 more frames before it. peak[n][lane] is the largest magnitude at the three points between
// x[n - 6] and x[n - 5].
void eh_true_peak_bank(const float *x, float *peak, size_t n_frames);

// x (n_frames, 2) with 11 more frames before it. Raises both pairs of peaks to the largest magnitudes of its samples
// and between them. What is no number, or 1e30 and more, does not count.
void eh_true_peak_stereo(const float *x, size_t n_frames, float *sample_peak, float *between_peak);
