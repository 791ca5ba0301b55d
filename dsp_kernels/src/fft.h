// Real FFT of four channels at once: each element is a vector of four lanes, so that there is nothing to shuffle.
#pragma once

#include "arena.h"
#include "simd.h"

typedef struct {
    int n_real, n_complex;  // n_real real points travel as n_complex = n_real / 2 complex ones
    float *twiddle;         // stage by stage, W^j, W^2j, W^3j of each j > 0
    float *split;           // cos, sin of 2 pi k / n_real
    uint16_t *place;        // where the stages leave frequency k
} eh_fft;

// n_real is a power of two from 64 to 65536.
void eh_fft_init(eh_fft *f, int n_real, eh_arena *arena);
// z holds n_real vectors and is spent. power has n_real / 2 + 1 of |X|^2 * scale, with half of it at both ends, so that
// its sum is the whole power.
void eh_fft_power(const eh_fft *f, v4 *z, v4 *power, float scale);
// spectrum has n_real / 2 + 1 pairs (re, im).
void eh_fft_forward(const eh_fft *f, v4 *z, v4 *spectrum);
// spectrum as above; out has n_real vectors, n_real / 2 times the inverse transform. z is scratch of n_real vectors.
void eh_fft_inverse(const eh_fft *f, const v4 *spectrum, v4 *z, v4 *out);
