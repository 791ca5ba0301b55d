// Sample formats of sound cards to float and back, and the guard against NaN and Inf.
#pragma once

#include "types.h"

// Full scale is 1.0. n counts samples, not frames.
void eh_convert_from_s32(const int32_t *in, float *out, size_t n) EH_RT;
void eh_convert_from_s24_3(const uint8_t *in, float *out, size_t n) EH_RT;  // packed little-endian, 3 bytes each
void eh_convert_from_s16(const int16_t *in, float *out, size_t n) EH_RT;

// Clamp to full scale, then round to nearest even; NaN becomes 0. S16 with TPDF dither of 2 LSB peak to peak from
// *dither_seed, which moves on by n; without dither when the pointer is NULL.
void eh_convert_to_s32(const float *in, int32_t *out, size_t n) EH_RT;
void eh_convert_to_s24_3(const float *in, uint8_t *out, size_t n) EH_RT;
void eh_convert_to_s16(const float *in, int16_t *out, size_t n, uint32_t *dither_seed) EH_RT;

// Replaces NaN, Inf and denormals by zero and clamps to +/-limit_lin; adds to n_bad[lane] each NaN and Inf, and to
// n_clipped[lane] each number of at least 1.0, either sign. n_lanes is a multiple of 4.
void eh_scrub(const float *in, float *out, size_t n_frames, int n_lanes, float limit_lin, uint32_t *n_bad,
              uint32_t *n_clipped) EH_RT;
