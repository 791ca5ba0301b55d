// Mel, Bark and cepstral bands; centroid, roll-off, flux, flatness, brightness.
#include "spectral.h"

#include "spectral_math.h"

#define SILENCE_POWER 1e-10f         // EH_SILENCE_DBFS
#define FLATNESS_FLOOR_POWER 1e-13f  // a bin; under the rounding of the FFT of full-scale sound
enum { BLOCK_BINS = 16 };

// Zwicker, "Subdivision of the audible frequency range into critical bands", JASA 33, 1961.
static const float BARK_EDGE_HZ[EH_N_BARK + 1] = {0,    100,  200,  300,  400,  510,   630,  770,  920,
                                                  1080, 1270, 1480, 1720, 2000, 2320,  2700, 3150, 3700,
                                                  4400, 5300, 6400, 7700, 9500, 12000, 15500};

static double mel_of_hz(double freq_hz) {  // O'Shaughnessy, Speech Communication, 1987
    return 2595.0 * EH_LN2 / 2.302585092994046 * eh_log2(1.0 + freq_hz / 700.0);
}

static double mel_weight(double freq_hz, int band) {
    const double low = mel_of_hz(30.0), spacing = (mel_of_hz(16000.0) - low) / (EH_N_MEL + 1);
    const double place = (mel_of_hz(freq_hz) - low) / spacing - band;  // 0 at the lower foot, 1 at the top, 2
    return place <= 0.0 || place >= 2.0 ? 0.0 : place <= 1.0 ? place : 2.0 - place;
}

// Share of the bin, taken as wide as the bins are apart, that lies in the band.
static double bark_weight(double freq_hz, int band, double bin_hz) {
    const double low = freq_hz - bin_hz / 2, high = freq_hz + bin_hz / 2;
    const double from = low > BARK_EDGE_HZ[band] ? low : BARK_EDGE_HZ[band];
    const double to = high < BARK_EDGE_HZ[band + 1] ? high : BARK_EDGE_HZ[band + 1];
    if (freq_hz == 0.0) return band == 0 ? 1.0 : 0.0;
    return to > from ? (to - from) / bin_hz : 0.0;
}

static void bands_init(eh_bands *bands, int n_bands, int is_mel, int n_bins, double bin_hz, eh_arena *arena) {
    for (int band = 0; band < n_bands; band++) {
        int first = n_bins, end = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int k = 0; k < n_bins; k++) {
                const double w = is_mel ? mel_weight(k * bin_hz, band) : bark_weight(k * bin_hz, band, bin_hz);
                if (w <= 0.0) continue;
                if (pass == 1) bands->weight[band][k - first] = (float)w;
                if (pass == 0 && k < first) first = k;
                if (pass == 0) end = k + 1;
            }
            if (pass == 1) break;
            bands->first[band] = (int16_t)(end ? first : 0);
            bands->n[band] = (int16_t)(end ? end - first : 0);
            bands->weight[band] = eh_arena_take(arena, (size_t)bands->n[band] * sizeof(float));
            if (!arena->base) break;
        }
    }
}

void eh_spectral_init(eh_spectral *s, float sample_rate_hz, int fft_frames, eh_arena *arena) {
    const double bin_hz = (double)sample_rate_hz / fft_frames;
    s->n_bins = fft_frames / 2 + 1;
    s->bin_hz = (float)bin_hz;
    bands_init(&s->mel, EH_N_MEL, 1, s->n_bins, bin_hz, arena);
    bands_init(&s->bark, EH_N_BARK, 0, s->n_bins, bin_hz, arena);
    const double bright = 1500.0 / bin_hz + 0.5;  // bin k reaches from k - 1/2 to k + 1/2
    s->bright_first = (int)bright + 1;
    s->bright_share = (float)((int)bright + 1 - bright);
    s->flat_first = (int)(100.0 / bin_hz) + 1;
    s->flat_end = (int)(10000.0 / bin_hz) + 1;
    if (s->flat_end > s->n_bins) s->flat_end = s->n_bins;
    for (int c = 0; c < EH_N_MFCC; c++)
        for (int m = 0; m < EH_N_MEL; m++) {
            const int quarter_turns = c * (2 * m + 1) % (4 * EH_N_MEL);  // angle in units of pi / (2 EH_N_MEL)
            double sine, cosine;
            eh_sincos(
                (quarter_turns > 2 * EH_N_MEL ? quarter_turns - 4 * EH_N_MEL : quarter_turns) * EH_PI / (2 * EH_N_MEL),
                &sine, &cosine);
            const double scale = c == 0 ? 0.15811388300841897 : 0.22360679774997896;  // sqrt(1/40), sqrt(2/40)
            s->dct[c][m] = (float)(scale * cosine);
        }
}

static inline v4 band_power(const eh_bands *bands, int band, const v4 *power) {
    const v4 *p = power + bands->first[band];
    const float *w = bands->weight[band];
    const int n = bands->n[band];
    v4 even = v4_set1(0.0f), odd = even;
    int k = 0;
    for (; k + 1 < n; k += 2) {
        even = v4_fma(p[k], v4_set1(w[k]), even);
        odd = v4_fma(p[k + 1], v4_set1(w[k + 1]), odd);
    }
    if (k < n) even = v4_fma(p[k], v4_set1(w[k]), even);
    return even + odd;
}

static void bands_analyse(const eh_spectral *s, const v4 *power, eh_spectral_frame *frame) {
    v4 rise_db = v4_set1(0.0f);
    for (int m = 0; m < EH_N_MEL; m++) {
        // Times two: a full-scale sine has a mean square of 1/2 and reads 0 dB.
        const v4 db = v4_power_to_db(band_power(&s->mel, m, power) * 2.0f, EH_SILENCE_DBFS);
        rise_db += v4_max(db - frame->log_mel_db[m], v4_set1(0.0f));
        frame->log_mel_db[m] = db;
    }
    frame->flux = rise_db * (1.0f / (EH_N_MEL * 10));
    for (int b = 0; b < EH_N_BARK; b++) frame->bark_power[b] = band_power(&s->bark, b, power);
    for (int c = 0; c < EH_N_MFCC; c++) {
        v4 sum = v4_set1(0.0f), odd = sum;
        for (int m = 0; m < EH_N_MEL; m += 2) {
            sum = v4_fma(frame->log_mel_db[m], v4_set1(s->dct[c][m]), sum);
            odd = v4_fma(frame->log_mel_db[m + 1], v4_set1(s->dct[c][m + 1]), odd);
        }
        frame->mfcc[c] = sum + odd;
    }
}

// Geometric over arithmetic mean. Mantissas are multiplied and exponents added, with one logarithm for each 64 bins.
static v4 flatness(const eh_spectral *s, const v4 *power) {
    const v4i mantissa_bits = (v4i){0x7fffff, 0x7fffff, 0x7fffff, 0x7fffff}, one = (v4i)v4_set1(1.0f);
    const int n = s->flat_end - s->flat_first;
    v4 sum = v4_set1(0.0f), log_sum = sum;
    for (int first = s->flat_first; first < s->flat_end; first += 64) {
        const int end = first + 64 < s->flat_end ? first + 64 : s->flat_end;
        v4 product = v4_set1(1.0f);
        v4i exponents = (v4i)v4_set1(0.0f);
        for (int k = first; k < end; k++) {
            const v4 p = power[k] + FLATNESS_FLOOR_POWER;
            sum += p;
            exponents += (v4i)p >> 23;
            product *= (v4)(((v4i)p & mantissa_bits) | one);
        }
        log_sum += v4_log2(product) + __builtin_convertvector(exponents - 127 * (end - first), v4);
    }
    if (n <= 0) return v4_set1(0.0f);
    return v4_min(v4_exp2_bounded(log_sum / (float)n) / (sum / (float)n), v4_set1(1.0f));
}

// Frequency under which 85 % of the power lies, counted within the bin: bin k reaches from k - 1/2 to k + 1/2.
static float rolloff_hz(const eh_spectral *s, const v4 *power, const v4 *block, int n_blocks, int lane, float total) {
    const float goal = 0.85f * total;
    float below = 0.0f;
    int b = 0;
    for (; b < n_blocks - 1 && below + block[b][lane] < goal; b++) below += block[b][lane];
    int k = b * BLOCK_BINS;
    for (; k < s->n_bins - 1 && below + power[k][lane] < goal; k++) below += power[k][lane];
    float share = power[k][lane] > 0.0f ? (goal - below) / power[k][lane] : 0.0f;
    share = share < 0.0f ? 0.0f : share > 1.0f ? 1.0f : share;
    const float bins = (float)k - 0.5f + share;
    return bins > 0.0f ? bins * s->bin_hz : 0.0f;
}

static void shape_analyse(const eh_spectral *s, const v4 *power, eh_spectral_frame *frame) {
    enum { MAX_BLOCKS = 4096 / 2 / BLOCK_BINS + 1 };
    v4 block[MAX_BLOCKS], total = v4_set1(0.0f), moment = total;
    int n_blocks = 0;
    for (int first = 0; first < s->n_bins; first += BLOCK_BINS) {
        const int n = first + BLOCK_BINS < s->n_bins ? BLOCK_BINS : s->n_bins - first;
        v4 sum = v4_set1(0.0f), local = sum;
        for (int k = 0; k < n; k++) {
            sum += power[first + k];
            local = v4_fma(power[first + k], v4_set1((float)k), local);
        }
        moment += v4_fma(sum, v4_set1((float)first), local);
        total += sum;
        block[n_blocks++] = sum;
    }
    const int whole_block = (s->bright_first + BLOCK_BINS - 1) / BLOCK_BINS;
    v4 bright = v4_set1(0.0f);
    if (s->bright_first <= s->n_bins) bright = power[s->bright_first - 1] * s->bright_share;
    for (int k = s->bright_first; k < whole_block * BLOCK_BINS && k < s->n_bins; k++) bright += power[k];
    for (int b = whole_block; b < n_blocks; b++) bright += block[b];

    const v4i is_sound = total > v4_set1(SILENCE_POWER);
    const v4 zero = v4_set1(0.0f), divisor = v4_max(total, v4_set1(SILENCE_POWER));
    frame->centroid_hz = v4_select(is_sound, moment / divisor * s->bin_hz, zero);
    frame->brightness = v4_select(is_sound, v4_min(bright / divisor, v4_set1(1.0f)), zero);
    frame->flatness = v4_select(is_sound, flatness(s, power), zero);
    frame->rolloff_hz = zero;
    for (int lane = 0; lane < 4; lane++)
        if (is_sound[lane]) frame->rolloff_hz[lane] = rolloff_hz(s, power, block, n_blocks, lane, total[lane]);
}

void eh_spectral_analyse(const eh_spectral *s, const v4 *power, eh_spectral_frame *frame) {
    bands_analyse(s, power, frame);
    shape_analyse(s, power, frame);
}
