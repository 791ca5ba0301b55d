// What music and gated mode share: noise floors, open microphones and their number (NOM), last hold.
#include "automix_state.h"
#include "log2exp2.h"
#include "units.h"

#define FALL_MS 500.0             // of a noise floor
#define RISE_MS 5000.0            // while the channel is silent
#define RISE_STEADY_MS 700.0      // gated: what is loud and steady is noise, not speech
#define RISE_SOUNDING_MS 30000.0  // music: a wrong floor heals, a held note does not become one
#define MEAN_MS 1000.0
#define VARIANCE_MS 500.0
#define STEADY_VARIANCE 0.25f    // standard deviation 1.5 dB
#define LAST_HOLD_MS 500.0f      // open for so long to be the last one
#define NOM_LIMIT_RAMP_MS 50.0f  // over its whole range

void automix_open_floors(automix_state *s, automix_group *g) {
    const bool is_gated = g->mode == EH_SHARE_MODE_GATED;
    const v4 fall = v4_set1(s->floor_fall_coeff), rise = v4_set1(s->floor_rise_coeff);
    const v4 rise_sounding = v4_set1(is_gated ? 0.0f : s->floor_sounding_coeff);
    const v4 rise_steady = v4_set1(s->floor_steady_coeff);
    const v4 steady_below = v4_set1(is_gated ? STEADY_VARIANCE : -1.0f);
    const v4 mean_coeff = v4_set1(s->mean_coeff), variance_coeff = v4_set1(s->variance_coeff);
    for (int i = g->first; i < g->first + g->n_slots; i += 4) {
        const v4 level = v4_log2(v4_load(s->slot[SLOT_POWER] + i) + AUTOMIX_EPS_POWER);
        const v4 mean = v4_load(s->slot[SLOT_MEAN] + i), deviation = level - mean;
        v4 variance = v4_load(s->slot[SLOT_VARIANCE] + i);
        variance = v4_fma(variance_coeff, v4_fma(deviation, deviation, -variance), variance);
        v4_store(s->slot[SLOT_DEVIATION] + i, deviation);
        v4_store(s->slot[SLOT_MEAN] + i, v4_fma(mean_coeff, deviation, mean));
        v4_store(s->slot[SLOT_VARIANCE] + i, variance);
        v4 up = v4_select(v4_load(s->slot[SLOT_SOUNDING] + i) > 0.0f, rise_sounding, rise);
        up = v4_select(variance < steady_below, rise_steady, up);
        v4_store(s->slot[SLOT_FLOOR] + i, automix_follow(v4_load(s->slot[SLOT_FLOOR] + i), level, up, fall));
    }
}

// G = sum of g^2; beyond the limit the group is lowered by 10 log10(G / limit): 3 dB per doubling.
void automix_open_gains(automix_state *s, automix_group *g) {
    const float *share = s->slot[SLOT_NOW + RAMP_SHARE], *smooth = s->slot[SLOT_SMOOTH];
    float *lin = s->slot[SLOT_LINEAR], *gain = s->slot[SLOT_GAIN_AUTO];
    const int end = g->first + g->n_slots;
    v4 sum = v4_set1(0.0f);
    for (int i = g->first; i < end; i += 4) {
        const v4 squared = v4_exp2(v4_load(smooth + i));
        v4_store(lin + i, squared);
        sum = v4_fma(v4_load(share + i), squared, sum);
    }
    g->nom = automix_sum(sum);
    const float step = 9.0f / (NOM_LIMIT_RAMP_MS * 0.001f * s->tick_hz), left = g->nom_limit_target - g->nom_limit;
    g->nom_limit = left > step ? g->nom_limit + step : left < -step ? g->nom_limit - step : g->nom_limit_target;
    const v4 scale = v4_set1(g->nom > g->nom_limit ? g->nom_limit / g->nom : 1.0f);
    for (int i = g->first; i < end; i += 4) v4_store(gain + i, v4_sqrt(v4_load(lin + i) * scale));
}

void automix_open_last(automix_state *s, automix_group *g) {
    const float *share = s->slot[SLOT_NOW + RAMP_SHARE];
    float *ticks = s->slot[SLOT_OPEN_TICKS];
    const float long_enough = LAST_HOLD_MS * 0.001f * s->tick_hz / AUTOMIX_SLOW_TICKS;
    if (g->last >= 0 && (s->channel[g->last].group != g - s->group || !(share[s->channel[g->last].slot] > 0.0f)))
        g->last = -1;
    float loudest = 0.0f;
    for (int i = g->first; i < g->first + g->n_slots; i++) {
        const bool is_open = s->slot[SLOT_SMOOTH][i] > AUTOMIX_OPEN_LOG2 && share[i] > 0.0f;
        ticks[i] = is_open ? (ticks[i] < long_enough ? ticks[i] + 1.0f : ticks[i]) : 0.0f;
        if (ticks[i] < long_enough || !(s->slot[SLOT_SOUNDING][i] > 0.0f) || s->slot[SLOT_LEVEL][i] <= loudest)
            continue;
        loudest = s->slot[SLOT_LEVEL][i];
        g->last = s->slot_channel[i];
    }
}

void automix_open_init(automix_state *s) {
    const double slow_hz = s->tick_hz / AUTOMIX_SLOW_TICKS;
    s->floor_fall_coeff = (float)(1.0 - eh_one_pole_coeff(FALL_MS, slow_hz));
    s->floor_rise_coeff = (float)(1.0 - eh_one_pole_coeff(RISE_MS, slow_hz));
    s->floor_steady_coeff = (float)(1.0 - eh_one_pole_coeff(RISE_STEADY_MS, slow_hz));
    s->floor_sounding_coeff = (float)(1.0 - eh_one_pole_coeff(RISE_SOUNDING_MS, slow_hz));
    s->mean_coeff = (float)(1.0 - eh_one_pole_coeff(MEAN_MS, slow_hz));
    s->variance_coeff = (float)(1.0 - eh_one_pole_coeff(VARIANCE_MS, slow_hz));
}
