// Sensory dissonance of four channels' spectral peaks.
#pragma once

#include "simd.h"

// spectrum: pairs (re, im) at multiples of bin_hz, [0, last_bin], last_bin < 513. Returns a ratio per lane, 0 in
// silence.
v4 eh_roughness(const v4 *spectrum, int last_bin, float bin_hz);
