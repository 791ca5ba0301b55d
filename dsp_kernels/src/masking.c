// Masking between channels: band b of channel i is masked when the excitation M of all others there is above E - 6 dB,
// with E the channel's own power in the band. Excitation falls from a band by 25 dB per Bark downward and 10 dB per
// Bark upward (Schroeder, Atal, Hall, "Optimizing digital speech coders by exploiting masking properties of the human
// ear", JASA 66, 1979, its straight parts).
#include "masking.h"

#include "units.h"

#define DOWNWARD 3.1622777e-3f    // -25 dB
#define UPWARD 0.1f               // -10 dB
#define MASKED_POWER 0.25118864f  // -6 dB
#define SILENT_POWER 1e-10f
#define AVERAGE_MS 1000.0
enum { SHARE_HOPS = 4 };
#define LEAST_FRACTION 0.02f  // under it nobody is named

void eh_masking_init(eh_masking *m, int n_groups, float hop_rate_hz, eh_arena *arena) {
    const size_t n = (size_t)n_groups;
    m->n_groups = n_groups;
    m->keep = (float)eh_one_pole_coeff(AVERAGE_MS, hop_rate_hz);
    m->share_keep = (float)eh_one_pole_coeff(AVERAGE_MS, hop_rate_hz / SHARE_HOPS);
    m->gain2 = eh_arena_take(arena, n * EH_N_BARK * sizeof(v4));
    m->power = eh_arena_take(arena, n * EH_N_BARK * sizeof(v4));
    m->spread = eh_arena_take(arena, n * EH_N_BARK * sizeof(v4));
    m->share = eh_arena_take(arena, n * 4 * n * sizeof(v4));
    m->fraction = eh_arena_take(arena, n * 4 * sizeof(float));
    m->masker = eh_arena_take(arena, n * 4 * sizeof(float));
    m->masked_by = eh_arena_take(arena, n * 4 * sizeof(float));
    if (!arena->base) return;
    for (size_t i = 0; i < n * EH_N_BARK; i++) m->gain2[i] = v4_set1(1.0f);
}

void eh_masking_reset(eh_masking *m) {
    const size_t n = (size_t)m->n_groups;
    memset(m->power, 0, n * EH_N_BARK * sizeof(v4));
    memset(m->spread, 0, n * EH_N_BARK * sizeof(v4));
    memset(m->share, 0, n * 4 * n * sizeof(v4));
    memset(m->fraction, 0, n * 4 * sizeof(float));
    for (size_t i = 0; i < n * 4; i++) m->masker[i] = m->masked_by[i] = -1.0f;
}

void eh_masking_set_gain(eh_masking *m, int channel, const float *bark_gain_lin) {
    for (int b = 0; b < EH_N_BARK; b++) {
        const float gain = bark_gain_lin[b];
        m->gain2[channel / 4 * EH_N_BARK + b][channel % 4] = gain > 0.0f && gain <= 1000.0f ? gain * gain : 0.0f;
    }
}

void eh_masking_take(eh_masking *m, int group, const v4 *bark_power) {
    const v4 *gain2 = m->gain2 + group * EH_N_BARK;
    v4 *power = m->power + group * EH_N_BARK, *spread = m->spread + group * EH_N_BARK, run = v4_set1(0.0f);
    for (int b = 0; b < EH_N_BARK; b++) {
        power[b] = bark_power[b] * gain2[b];
        spread[b] = run = v4_fma(run, v4_set1(UPWARD), power[b]);
    }
    run = v4_set1(0.0f);
    for (int b = EH_N_BARK - 1; b >= 0; b--) {
        spread[b] = v4_fma(run, v4_set1(DOWNWARD), spread[b]);
        run = v4_fma(run, v4_set1(DOWNWARD), power[b]);
    }
}

void eh_masking_begin(eh_masking *m) {
    for (int b = 0; b < EH_N_BARK; b++) {
        v4 sum = v4_set1(0.0f);
        for (int g = 0; g < m->n_groups; g++) sum += m->spread[g * EH_N_BARK + b];
        m->all[b] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

// Averages what each other channel adds to the channel's masking, and names the one that adds most.
static float name_masker(eh_masking *m, int channel, const v4 weight[EH_N_BARK]) {
    const int lane = channel % 4;
    const v4 keep = v4_set1(m->share_keep);
    v4 *share = m->share + channel * m->n_groups;
    int masked[EH_N_BARK], n_masked = 0;
    float largest = 0.0f, masked_by = -1.0f;
    for (int b = 0; b < EH_N_BARK; b++)
        if (weight[b][lane] > 0.0f) masked[n_masked++] = b;
    for (int g = 0; g < m->n_groups; g++) {
        v4 now = v4_set1(0.0f);
        for (int i = 0; i < n_masked; i++)
            now = v4_fma(m->spread[g * EH_N_BARK + masked[i]], v4_set1(weight[masked[i]][lane]), now);
        share[g] = v4_fma(share[g] - now, keep, now);
        for (int other = 0; other < 4; other++) {
            if (share[g][other] <= largest || g * 4 + other == channel) continue;
            largest = share[g][other];
            masked_by = (float)(g * 4 + other);
        }
    }
    return masked_by;
}

void eh_masking_judge(eh_masking *m, int group, v4 is_active, uint32_t hop) {
    const v4 *power = m->power + group * EH_N_BARK, *spread = m->spread + group * EH_N_BARK, zero = v4_set1(0.0f);
    v4 weight[EH_N_BARK], masked = zero, total = zero;
    for (int b = 0; b < EH_N_BARK; b++) {
        const v4 others = m->all[b] - spread[b];
        const v4i is_masked = (others > power[b] * MASKED_POWER) & (power[b] > zero);
        weight[b] = v4_select(is_masked, power[b] / v4_max(others, v4_set1(1e-30f)), zero);
        masked += v4_select(is_masked, power[b], zero);
        total += power[b];
    }
    const v4 scale = v4_set1(1.0f) / v4_max(total, v4_set1(SILENT_POWER)), fraction = masked * scale;
    for (int b = 0; b < EH_N_BARK; b++) weight[b] *= scale;
    for (int lane = 0; lane < 4; lane++) {
        const int channel = group * 4 + lane;
        m->masked_by[channel] = -1.0f;
        if (!(is_active[lane] > 0.0f && total[lane] > SILENT_POWER)) continue;
        m->fraction[channel] = fraction[lane] + m->keep * (m->fraction[channel] - fraction[lane]);
        if ((hop + (uint32_t)channel) % SHARE_HOPS == 0) m->masker[channel] = name_masker(m, channel, weight);
        if (m->fraction[channel] >= LEAST_FRACTION) m->masked_by[channel] = m->masker[channel];
    }
}
