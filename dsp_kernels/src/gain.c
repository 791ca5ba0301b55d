// Gain of each lane, ramped linearly.
#include "evenhand/gain.h"

#include "bank.h"
#include "ramp.h"
#include "simd.h"

eh_status eh_gain_init(eh_gain *g, float sample_rate_hz, int n_lanes) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    *g = (eh_gain){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes};
    for (int lane = 0; lane < EH_MAX_LANES; lane++) g->gain_lin[lane] = g->target_lin[lane] = 1.0f;
    return EH_OK;
}

void eh_gain_set(eh_gain *g, int lane, float gain_lin, float ramp_ms) {
    if (gain_lin == g->target_lin[lane]) return;
    const int first = lane & ~3;
    const int32_t n_ramp = eh_ramp_frames(ramp_ms, g->sample_rate_hz);
    g->target_lin[lane] = gain_lin;
    // The vector has one count: its other lanes, if on their way, start anew from where they are.
    for (int l = first; l < first + 4; l++) g->step_lin[l] = (g->target_lin[l] - g->gain_lin[l]) / (float)n_ramp;
    g->ramp_left[first / 4] = n_ramp;
}

void eh_gain_reset(eh_gain *g) {
    memcpy(g->gain_lin, g->target_lin, sizeof g->gain_lin);
    memset(g->ramp_left, 0, sizeof g->ramp_left);
}

static int is_unity(v4 gain) { return !v4_any(gain != v4_set1(1.0f)); }

void eh_gain_process(eh_gain *g, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)g->n_lanes;
    for (size_t first = 0; first < stride; first += 4) {
        const float *x = in + first;
        float *y = out + first;
        size_t n = 0;
        v4 gain = v4_load(g->gain_lin + first);
        int32_t *left = &g->ramp_left[first / 4];
        if (*left > 0) {
            // Counted back from the target: no rounding adds up on the way.
            const v4 step = v4_load(g->step_lin + first), target = v4_load(g->target_lin + first);
            for (; n<n_frames && * left> 0; n++, x += stride, y += stride) {
                gain = v4_fnma(step, v4_set1((float)--*left), target);
                v4_store(y, v4_load(x) * gain);
            }
            v4_store(g->gain_lin + first, gain);
        }
        if (in == out && is_unity(gain)) continue;  // the bits stay as they are
        for (; n < n_frames; n++, x += stride, y += stride) v4_store(y, v4_load(x) * gain);
    }
}
