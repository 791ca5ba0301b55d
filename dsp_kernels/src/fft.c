// Decimation in frequency, in place, radix 4 with a last stage of 4 or 8. Real points are packed in pairs and split
// afterwards:  X[k] = E[k] + W^k O[k],  E, O the spectra of the even and odd points (Press et al., Numerical
// Recipes 12.3).
#include "fft.h"

#include "units.h"

typedef struct {
    v4 re, im;
} complex4;

static inline complex4 at(const v4 *z, size_t i) { return (complex4){z[2 * i], z[2 * i + 1]}; }
static inline void put(v4 *z, size_t i, complex4 a) {
    z[2 * i] = a.re;
    z[2 * i + 1] = a.im;
}
static inline complex4 add(complex4 a, complex4 b) { return (complex4){a.re + b.re, a.im + b.im}; }
static inline complex4 sub(complex4 a, complex4 b) { return (complex4){a.re - b.re, a.im - b.im}; }
static inline complex4 sub_i(complex4 a, complex4 b) { return (complex4){a.re + b.im, a.im - b.re}; }  // a - i b
static inline complex4 add_i(complex4 a, complex4 b) { return (complex4){a.re - b.im, a.im + b.re}; }  // a + i b
static inline complex4 times(complex4 a, const float *w) {
    const v4 re = v4_set1(w[0]), im = v4_set1(w[1]);
    return (complex4){v4_fnma(a.im, im, a.re * re), v4_fma(a.im, re, a.re * im)};
}

static void unit(double turns, float *w) {  // e^(-2 pi i turns), 0 <= turns < 1
    double s, c;
    eh_sincos(2 * EH_PI * (turns > 0.5 ? turns - 1.0 : turns), &s, &c);
    w[0] = (float)c;
    w[1] = (float)-s;
}

static int place_of(int k, int length) {
    int place = 0;
    while (length > 1) {
        const int radix = length == 8 ? 2 : 4;
        length /= radix;
        place += k % radix * length;
        k /= radix;
    }
    return place;
}

void eh_fft_init(eh_fft *f, int n_real, eh_arena *arena) {
    const int n = n_real / 2;
    size_t n_twiddles = 0;
    for (int length = n; length > 8; length /= 4) n_twiddles += (size_t)(length / 4 - 1) * 6;
    f->n_real = n_real;
    f->n_complex = n;
    f->twiddle = eh_arena_take(arena, n_twiddles * sizeof(float));
    f->split = eh_arena_take(arena, (size_t)(n / 2 + 1) * 2 * sizeof(float));
    f->place = eh_arena_take(arena, (size_t)n * sizeof(uint16_t));
    if (!arena->base) return;
    float *w = f->twiddle;
    for (int length = n; length > 8; length /= 4)
        for (int j = 1; j < length / 4; j++)
            for (int m = 1; m <= 3; m++, w += 2) unit((double)(m * j) / length, w);
    for (int k = 0; k <= n / 2; k++) unit((double)k / n_real, f->split + 2 * k);
    for (int k = 0; k < n; k++) f->place[k] = (uint16_t)place_of(k, n);
}

static inline void radix4(const complex4 a[4], complex4 y[4]) {
    const complex4 t0 = add(a[0], a[2]), t1 = sub(a[0], a[2]), t2 = add(a[1], a[3]), t3 = sub(a[1], a[3]);
    y[0] = add(t0, t2);
    y[1] = sub_i(t1, t3);
    y[2] = sub(t0, t2);
    y[3] = add_i(t1, t3);
}

static inline void butterfly(v4 *z, size_t quarter, const float *w) {
    const complex4 a[4] = {at(z, 0), at(z, quarter), at(z, 2 * quarter), at(z, 3 * quarter)};
    complex4 y[4];
    radix4(a, y);
    put(z, 0, y[0]);
    put(z, quarter, w ? times(y[1], w) : y[1]);
    put(z, 2 * quarter, w ? times(y[2], w + 2) : y[2]);
    put(z, 3 * quarter, w ? times(y[3], w + 4) : y[3]);
}

// Eight neighbouring points: one radix-2 stage, then two of radix 4.
static inline void last_eight(v4 *z) {
    const v4 half = v4_set1(0.70710678f);
    complex4 s[4], d[4], y[4];
    for (size_t j = 0; j < 4; j++) {
        s[j] = add(at(z, j), at(z, j + 4));
        d[j] = sub(at(z, j), at(z, j + 4));
    }
    radix4(s, y);
    for (size_t j = 0; j < 4; j++) put(z, j, y[j]);
    d[1] = (complex4){(d[1].re + d[1].im) * half, (d[1].im - d[1].re) * half};
    d[2] = (complex4){d[2].im, -d[2].re};
    d[3] = (complex4){(d[3].im - d[3].re) * half, -((d[3].re + d[3].im) * half)};
    radix4(d, y);
    for (size_t j = 0; j < 4; j++) put(z, j + 4, y[j]);
}

static void transform(const eh_fft *f, v4 *z) {
    const size_t n = (size_t)f->n_complex;
    const float *w = f->twiddle;
    size_t length = n;
    for (; length > 8; length /= 4) {
        const size_t quarter = length / 4;
        for (size_t first = 0; first < n; first += length) butterfly(z + 2 * first, quarter, NULL);
        for (size_t j = 1; j < quarter; j++, w += 6)
            for (size_t first = j; first < n; first += length) butterfly(z + 2 * first, quarter, w);
    }
    if (length == 8)
        for (size_t first = 0; first < n; first += 8) last_eight(z + 2 * first);
    else
        for (size_t first = 0; first < n; first += 4) butterfly(z + 2 * first, 1, NULL);
}

// Twice the spectrum at k and at n - k.
static inline void split(const eh_fft *f, const v4 *z, size_t k, complex4 *low, complex4 *high) {
    const size_t n = (size_t)f->n_complex;
    const complex4 a = at(z, f->place[k]), b = at(z, f->place[n - k]);
    const complex4 even = {a.re + b.re, a.im - b.im}, odd = {a.im + b.im, b.re - a.re};
    const complex4 turned = times(odd, f->split + 2 * k);
    *low = add(even, turned);
    *high = (complex4){even.re - turned.re, turned.im - even.im};
}

void eh_fft_power(const eh_fft *f, v4 *z, v4 *power, float scale) {
    const size_t n = (size_t)f->n_complex;
    const v4 quarter = v4_set1(0.25f * scale);
    transform(f, z);
    const v4 dc = z[0] + z[1], nyquist = z[0] - z[1];
    power[0] = dc * dc * (0.5f * scale);
    power[n] = nyquist * nyquist * (0.5f * scale);
    for (size_t k = 1; k <= n / 2; k++) {
        complex4 low, high;
        split(f, z, k, &low, &high);
        power[k] = v4_fma(low.re, low.re, low.im * low.im) * quarter;
        power[n - k] = v4_fma(high.re, high.re, high.im * high.im) * quarter;
    }
}

void eh_fft_forward(const eh_fft *f, v4 *z, v4 *spectrum) {
    const size_t n = (size_t)f->n_complex;
    const v4 zero = v4_set1(0.0f);
    transform(f, z);
    put(spectrum, 0, (complex4){z[0] + z[1], zero});
    put(spectrum, n, (complex4){z[0] - z[1], zero});
    for (size_t k = 1; k <= n / 2; k++) {
        complex4 low, high;
        split(f, z, k, &low, &high);
        put(spectrum, k, (complex4){low.re * 0.5f, low.im * 0.5f});
        put(spectrum, n - k, (complex4){high.re * 0.5f, high.im * 0.5f});
    }
}

void eh_fft_inverse(const eh_fft *f, const v4 *spectrum, v4 *z, v4 *out) {
    const size_t n = (size_t)f->n_complex;
    // Real and imaginary parts change places before and after: the forward stages then go backward.
    for (size_t k = 0; k <= n / 2; k++) {
        const complex4 a = at(spectrum, k), b = at(spectrum, n - k);
        const complex4 even = {(a.re + b.re) * 0.5f, (a.im - b.im) * 0.5f};
        const complex4 odd = {(a.re - b.re) * 0.5f, (a.im + b.im) * 0.5f};
        const float w[2] = {f->split[2 * k], -f->split[2 * k + 1]};
        const complex4 turned = times(odd, w);
        put(z, k, (complex4){even.im + turned.re, even.re - turned.im});
        if (k > 0) put(z, n - k, (complex4){turned.re - even.im, even.re + turned.im});
    }
    transform(f, z);
    for (size_t i = 0; i < n; i++) {
        const complex4 a = at(z, f->place[i]);
        put(out, i, (complex4){a.im, a.re});
    }
}
