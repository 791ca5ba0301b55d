// What a model is shown of all channels together: spectrum, chroma, rises and what has changed.
#include "model_input_state.h"

#define RISE_FLOOR_DB 60.0f  // below the slow level of the sum: what rises under it is noise
#define MEL_NOVELTY 64.0f    // a distance of 1/64 reads 1; made of decibels, means are never far apart
#define CHROMA_NOVELTY 3.0f
enum {
    N_FLUX_GROUPS = 8,
    BANDS_PER_GROUP = EH_N_MEL / N_FLUX_GROUPS,
    N_REGISTERS = 4,  // all, low, middle, high
    FIRST_MIDDLE_BAND = 4,
    FIRST_HIGH_BAND = 20,
};

// What the channels sum to in a tick.
typedef struct {
    float mel[EH_N_MEL], pooled[EH_N_POOLED], total, loudness;
    float onset[N_REGISTERS];
    int n_active, n_heard, n_heard_active, n_in_register[N_REGISTERS];
} sums;

static int register_of(const eh_shown_channel *c) {
    float power[N_REGISTERS] = {0.0f};
    for (int i = 0; i < EH_N_MEL; i++) power[i < FIRST_MIDDLE_BAND ? 1 : i < FIRST_HIGH_BAND ? 2 : 3] += c->mel[i];
    const int lower = power[2] > power[1] ? 2 : 1;
    return power[3] > power[lower] ? 3 : lower;
}

static sums sum_channels(const eh_shown *s, int n_channels) {
    sums t = {.total = 0.0f};
    int64_t mel[EH_N_MEL] = {0}, loudness = 0, onset[N_REGISTERS] = {0};
    for (int ch = 0; ch < n_channels; ch++) {
        const eh_shown_channel *c = &s->channel[ch];
        for (int i = 0; i < EH_N_MEL; i++) mel[i] += eh_whole(c->mel_now[i]);
        loudness += eh_whole(c->loudness_now);
        t.n_active += c->is_active;
        if (!c->is_heard) continue;
        const int registers[2] = {0, register_of(c)};
        t.n_heard++;
        t.n_heard_active += c->is_active;
        for (int k = 0; k < 2; k++) {
            t.n_in_register[registers[k]]++;
            onset[registers[k]] += eh_whole(c->onset);
        }
    }
    for (int i = 0; i < EH_N_MEL; i++) t.mel[i] = eh_unwhole(mel[i]);
    for (int i = 0; i < EH_N_POOLED; i++) t.total += t.pooled[i] = t.mel[2 * i] + t.mel[2 * i + 1];
    t.loudness = eh_unwhole(loudness);
    for (int k = 0; k < N_REGISTERS; k++)
        if (t.n_in_register[k]) t.onset[k] = eh_unwhole(onset[k]) / (float)t.n_in_register[k];
    return t;
}

// In double: what counts is a small difference.
static float cosine_distance(const float *a, const float *b, int n) {
    double aa = 0.0, bb = 0.0, ab = 0.0;
    for (int i = 0; i < n; i++) {
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
        ab += (double)a[i] * b[i];
    }
    const double norms = __builtin_sqrt(aa * bb), distance = norms > 1e-12 ? 1.0 - ab / norms : 0.0;
    return distance > 0.0 ? (float)distance : 0.0f;
}

static float novelty(const float *a, const float *b, int n, float scale) {
    return 2.0f * __builtin_sqrtf(scale * cosine_distance(a, b, n)) - 1.0f;
}

static void write_silence(float *out) {
    for (int i = 0; i < EH_N_MIX_INPUT; i++) out[i] = -1.0f;
    out[EH_MIX_INPUT_LEVEL_NOW] = out[EH_MIX_INPUT_LEVEL_FAST] = 0.0f;
    for (int i = EH_MIX_INPUT_CHANGE_ACTIVE; i < EH_N_MIX_INPUT; i++) out[i] = 0.0f;
}

static void learn_levels(const eh_shown *s, eh_shown_mix *m, const sums *t) {
    m->n_ticks += m->n_ticks < UINT32_MAX;
    eh_towards(&m->fast_power, t->total, eh_share(s->fast_share, m->n_ticks));
    if (t->n_active == 0) return;
    m->n_active += m->n_active < UINT32_MAX;
    const float slow = eh_share(s->slow_share, m->n_active);
    eh_towards(&m->slow_power, t->total, slow);
    eh_towards(&m->slow_loudness, t->loudness, slow);
    eh_towards(&m->long_power, t->total, eh_share(s->long_share, m->n_active));
}

// Returns the mean of the groups.
static float write_flux(eh_shown_mix *m, const sums *t, float *out) {
    const float floor_db = eh_dbf(m->slow_power) - RISE_FLOOR_DB;
    float mean = 0.0f;
    for (int group = 0; group < N_FLUX_GROUPS; group++) {
        float rise_db = 0.0f;
        for (int i = group * BANDS_PER_GROUP; i < (group + 1) * BANDS_PER_GROUP; i++) {
            const float exact_db = eh_dbf(t->mel[i]), db = exact_db > floor_db ? exact_db : floor_db;
            if (m->n_ticks > 1 && db > m->mel_db[i]) rise_db += db - m->mel_db[i];
            m->mel_db[i] = db;
        }
        out[group] = 2.0f * __builtin_sqrtf(rise_db * (1.0f / (10.0f * BANDS_PER_GROUP))) - 1.0f;
        mean += out[group] > 1.0f ? 1.0f : out[group];
    }
    return mean / N_FLUX_GROUPS;
}

static float centroid_of(const sums *t, float last) {
    float moment = 0.0f;
    for (int i = 0; i < EH_N_MEL; i++) moment += (float)i * t->mel[i];
    return t->total > 0.0f ? moment / t->total : last;
}

static void learn_course(const eh_shown *s, eh_shown_mix *m, const sums *t, float flux, const float *out) {
    const float share[EH_N_MIX_SPANS] = {eh_share(s->fast_share, m->n_ticks), eh_share(s->slow_share, m->n_ticks),
                                         eh_share(s->long_share, m->n_ticks)};
    for (int span = 0; span < EH_N_MIX_SPANS; span++) {
        for (int i = 0; i < EH_N_POOLED; i++)
            eh_towards(&m->mel[span][i], 0.5f * (out[EH_MIX_INPUT_MEL_SUM + i] + 1.0f), share[span]);
        for (int i = 0; i < 12; i++)
            eh_towards(&m->chroma[span][i], 0.5f * (out[EH_MIX_INPUT_CHROMA + i] + 1.0f), share[span]);
    }
    const float active = eh_log2f(1.0f + (float)t->n_active), centroid = centroid_of(t, m->centroid[0]);
    for (int span = 0; span < 2; span++) {
        eh_towards(&m->active[span], active, share[span]);
        eh_towards(&m->flux[span], flux, share[span]);
        eh_towards(&m->centroid[span], centroid, share[span]);
    }
}

void eh_shown_sum(eh_shown *s, int n_channels, const eh_mix_features *features, float *out) {
    eh_shown_mix *m = &s->mix;
    const sums t = sum_channels(s, n_channels);
    write_silence(out);
    if (m->n_ticks == 0 && t.n_active == 0) return;
    learn_levels(s, m, &t);
    for (int i = 0; i < 12; i++) out[EH_MIX_INPUT_CHROMA + i] = eh_clip(2.0f * features->chroma[i] - 1.0f);
    const float scale = 1.0f / (m->slow_power > 1e-10f ? m->slow_power : 1e-10f);
    for (int i = 0; i < EH_N_POOLED; i++)
        out[EH_MIX_INPUT_MEL_SUM + i] = eh_clip((eh_dbf(t.pooled[i] * scale) + 30.0f) / 50.0f);
    const float flux = write_flux(m, &t, out + EH_MIX_INPUT_FLUX_SUM);
    for (int k = 0; k < N_REGISTERS; k++) out[EH_MIX_INPUT_ONSET_SHARE + k] = 2.0f * t.onset[k] - 1.0f;
    learn_course(s, m, &t, flux, out);
    out[EH_MIX_INPUT_LEVEL_NOW] = (eh_dbf(t.loudness) - eh_dbf(m->slow_loudness)) / 15.0f;
    out[EH_MIX_INPUT_LEVEL_FAST] = (eh_dbf(m->fast_power) - eh_dbf(m->long_power)) / 15.0f;
    if (t.n_active) out[EH_MIX_INPUT_ACTIVE_COUNT] = eh_log2f((float)t.n_active) / 5.0f;
    if (t.n_heard) out[EH_MIX_INPUT_ACTIVE_SHARE] = 2.0f * (float)t.n_heard_active / (float)t.n_heard - 1.0f;
    out[EH_MIX_INPUT_NOVELTY_MEL] = novelty(m->mel[0], m->mel[1], EH_N_POOLED, MEL_NOVELTY);
    out[EH_MIX_INPUT_NOVELTY_CHROMA] = novelty(m->chroma[0], m->chroma[1], 12, CHROMA_NOVELTY);
    out[EH_MIX_INPUT_NOVELTY_MEL_LONG] = novelty(m->mel[0], m->mel[2], EH_N_POOLED, MEL_NOVELTY);
    out[EH_MIX_INPUT_NOVELTY_CHROMA_LONG] = novelty(m->chroma[0], m->chroma[2], 12, CHROMA_NOVELTY);
    out[EH_MIX_INPUT_CHANGE_ACTIVE] = m->active[0] - m->active[1];
    out[EH_MIX_INPUT_CHANGE_LEVEL] = (eh_dbf(m->slow_power) - eh_dbf(m->long_power)) / 6.0f;
    out[EH_MIX_INPUT_CHANGE_FLUX] = 3.0f * (m->flux[0] - m->flux[1]);
    out[EH_MIX_INPUT_CHANGE_CENTROID] = (m->centroid[0] - m->centroid[1]) / 5.0f;
    for (int i = 0; i < EH_N_MIX_INPUT; i++) out[i] = eh_clip(out[i]);
}
