// Peak and RMS meters: squares add up for 16 frames, then a one-pole of 300 ms takes their mean.
#include "evenhand/meters.h"

#include "bank.h"
#include "simd.h"
#include "units.h"

enum { TICK_FRAMES = 16 };
#define RMS_TAU_MS 300.0
#define DIED_AWAY_POWER 1e-20f  // -200 dBFS: a decay ends at zero, not among denormals

eh_status eh_meters_init(eh_meters *m, float sample_rate_hz, int n_lanes) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    *m = (eh_meters){.sample_rate_hz = sample_rate_hz,
                     .n_lanes = n_lanes,
                     .rms_coeff = (float)eh_one_pole_coeff(RMS_TAU_MS, sample_rate_hz / (double)TICK_FRAMES)};
    return EH_OK;
}

void eh_meters_reset(eh_meters *m) {
    m->phase = 0;
    for (int lane = 0; lane < EH_MAX_LANES; lane++) eh_meters_reset_lane(m, lane);
}

void eh_meters_reset_lane(eh_meters *m, int lane) {
    m->peak_lin[lane] = m->accumulated[lane] = m->mean_square[lane] = 0.0f;
}

static inline v4 smoothed(v4 mean_square, v4 accumulated, v4 coeff) {
    const v4 mean = accumulated * (1.0f / TICK_FRAMES);
    const v4 next = v4_fma(coeff, mean_square - mean, mean);
    return v4_select(next < DIED_AWAY_POWER, v4_set1(0.0f), next);
}

static inline void measure(v4 x, v4 *peak, v4 *accumulated) {
    *peak = v4_max(*peak, v4_abs(x));
    *accumulated = v4_fma(x, x, *accumulated);
}

void eh_meters_process(eh_meters *m, const float *in, size_t n_frames) {
    const size_t stride = (size_t)m->n_lanes;
    const v4 coeff = v4_set1(m->rms_coeff);
    const eh_turn turn = eh_turn_of(stride);
    for (size_t first = 0; first < stride; first += 4) {
        const float *x = in + first;
        v4 peak = v4_load(m->peak_lin + first), accumulated = v4_load(m->accumulated + first);
        v4 mean_square = v4_load(m->mean_square + first);
        size_t left = n_frames, until_tick = (size_t)(TICK_FRAMES - m->phase);
        while (left >= until_tick) {
            if (until_tick == TICK_FRAMES) {
                for (int n = 0; n < TICK_FRAMES; n += 4, x += 4 * stride)
                    for (size_t k = 0; k < 4; k++) measure(v4_load(x + turn.at[k]), &peak, &accumulated);
            } else {
                for (size_t n = 0; n < until_tick; n++, x += stride) measure(v4_load(x), &peak, &accumulated);
            }
            mean_square = smoothed(mean_square, accumulated, coeff);
            accumulated = v4_set1(0.0f);
            left -= until_tick;
            until_tick = TICK_FRAMES;
        }
        for (; left > 0; left--, x += stride) measure(v4_load(x), &peak, &accumulated);
        v4_store(m->peak_lin + first, peak);
        v4_store(m->accumulated + first, accumulated);
        v4_store(m->mean_square + first, mean_square);
    }
    m->phase = (int32_t)(((size_t)m->phase + n_frames) % TICK_FRAMES);
}

static float level_dbfs(double power) {
    const double level = eh_power_to_db(power);
    return level > EH_SILENCE_DBFS ? (float)level : (float)EH_SILENCE_DBFS;
}

void eh_meters_read(eh_meters *m, int lane, float *peak_dbfs, float *rms_dbfs) {
    const double peak_lin = m->peak_lin[lane];
    *peak_dbfs = level_dbfs(peak_lin * peak_lin);
    *rms_dbfs = level_dbfs(m->mean_square[lane]);
    m->peak_lin[lane] = 0.0f;
}
