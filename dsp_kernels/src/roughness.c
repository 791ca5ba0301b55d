// Roughness of pairs of partials (P. N. Vassilakis, "Perceptual and physical properties of amplitude fluctuation and
// their musical significance", 2001, after Plomp and Levelt, JASA 38, 1965):
//   R = (A1 A2)^0.1 * 0.5 * (2 Amin / (A1 + A2))^3.11 * (e^(-3.5 s df) - e^(-5.75 s df)),  s = 0.24 / (0.0207 f1
//   + 18.96)
// summed over the ten largest peaks, with amplitudes scaled so that the sum of their squares is 1.
#include "roughness.h"

#include "spectral_math.h"

enum { N_PEAKS = 10, MAX_BINS = 513 };
#define LEAST_PEAK_SHARE 1e-4f       // 40 dB under the largest
#define SILENT_BIN_POWER 6.5536e-5f  // 90 dB under a full-scale sine, whose bin holds (1024 / 4)^2

typedef struct {
    int n;
    int bin[N_PEAKS];
    float power[N_PEAKS];
} peak_list;

// The largest first.
static void insert(peak_list *list, int bin, float power) {
    if (list->n == N_PEAKS && power <= list->power[N_PEAKS - 1]) return;
    int i = list->n < N_PEAKS ? list->n++ : N_PEAKS - 1;
    for (; i > 0 && list->power[i - 1] < power; i--) {
        list->bin[i] = list->bin[i - 1];
        list->power[i] = list->power[i - 1];
    }
    list->bin[i] = bin;
    list->power[i] = power;
}

// The ten largest maxima of each lane within 40 dB. Every second bin can be one at most.
static void find_peaks(const v4 *power, int last_bin, v4 least, peak_list lists[4]) {
    int bin[4][MAX_BINS / 2 + 1], n[4] = {0};
    for (int k = 1; k < last_bin; k++) {
        const v4i is_peak = (power[k] > power[k - 1]) & (power[k] >= power[k + 1]) & (power[k] > least);
        for (int lane = 0; lane < 4; lane++) {  // written always, kept when it is one: no branch to guess
            bin[lane][n[lane]] = k;
            n[lane] -= is_peak[lane];
        }
    }
    for (int lane = 0; lane < 4; lane++) {
        lists[lane].n = 0;
        for (int i = 0; i < n[lane]; i++) insert(&lists[lane], bin[lane][i], power[bin[lane][i]][lane]);
    }
}

v4 eh_roughness(const v4 *spectrum, int last_bin, float bin_hz) {
    v4 power[MAX_BINS], largest = v4_set1(SILENT_BIN_POWER);
    for (int k = 0; k <= last_bin; k++) {
        power[k] = v4_fma(spectrum[2 * k], spectrum[2 * k], spectrum[2 * k + 1] * spectrum[2 * k + 1]);
        largest = v4_max(largest, power[k]);
    }
    peak_list lists[4];
    find_peaks(power, last_bin, largest * LEAST_PEAK_SHARE, lists);
    // Frequency and height by a parabola through the three amplitudes; missing peaks have amplitude 0.
    v4 freq_hz[N_PEAKS], amplitude[N_PEAKS], log_amplitude[N_PEAKS], sum = v4_set1(0.0f);
    for (int i = 0; i < N_PEAKS; i++) {
        v4 before = v4_set1(0.0f), at = before, after = before, bin = before;
        for (int lane = 0; lane < 4; lane++) {
            if (i >= lists[lane].n) continue;
            const int k = lists[lane].bin[i];
            before[lane] = power[k - 1][lane];
            at[lane] = power[k][lane];
            after[lane] = power[k + 1][lane];
            bin[lane] = (float)k;
        }
        before = v4_sqrt(before);
        at = v4_sqrt(at);
        after = v4_sqrt(after);
        const v4 bend = v4_max(at + at - before - after, v4_set1(1e-30f));
        const v4 shift = (after - before) * 0.5f / bend;
        freq_hz[i] = (bin + shift) * bin_hz;
        amplitude[i] = v4_fma((after - before) * 0.25f, shift, at);
        sum = v4_fma(amplitude[i], amplitude[i], sum);
    }
    const v4 scale = v4_set1(1.0f) / v4_sqrt(v4_max(sum, v4_set1(1e-30f)));
    for (int i = 0; i < N_PEAKS; i++) {
        amplitude[i] *= scale;
        log_amplitude[i] = v4_log2(v4_max(amplitude[i], v4_set1(1e-30f)));
    }
    v4 roughness = v4_set1(0.0f);
    for (int i = 0; i < N_PEAKS; i++) {
        for (int j = i + 1; j < N_PEAKS; j++) {
            const v4 least_amplitude = v4_min(amplitude[i], amplitude[j]);
            const v4i both = least_amplitude > v4_set1(0.0f);
            if (!v4_any(both)) break;
            const v4 log_least = v4_min(log_amplitude[i], log_amplitude[j]);
            const v4 log_fluctuation = log_least + 1.0f - v4_log2(v4_max(amplitude[i] + amplitude[j], v4_set1(1e-30f)));
            const v4 strength =
                v4_exp2_bounded(v4_fma(log_fluctuation, v4_set1(3.11f), (log_amplitude[i] + log_amplitude[j]) * 0.1f)) *
                0.5f;
            const v4 lower_hz = v4_min(freq_hz[i], freq_hz[j]);
            const v4 s = v4_set1(0.24f) / v4_fma(lower_hz, v4_set1(0.0207f), v4_set1(18.96f));
            const v4 distance = v4_abs(freq_hz[i] - freq_hz[j]) * s * (float)(1 / EH_LN2);
            const v4 dissonance = v4_exp2_bounded(distance * -3.5f) - v4_exp2_bounded(distance * -5.75f);
            roughness += v4_select(both, strength * dissonance, v4_set1(0.0f));
        }
    }
    return roughness;
}
