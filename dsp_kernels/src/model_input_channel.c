// What a model is shown of one channel, apart from the others.
#include "model_input_state.h"

#define LEVEL_LIMIT_DB 40.0f
#define TRIM_LIMIT_DB 80.0f
#define SILENT_POWER 1e-10f  // EH_SILENCE_DBFS

static const float LOG2_PER_DB = (float)(2.0 / EH_DB_PER_LOG2);
static const float LOG10_OF_2 = (float)(EH_DB_PER_LOG2 / 20.0);

static float sane(float x) { return x > -1e6f && x < 1e6f ? x : 0.0f; }

// As it would read without the trim; silence stays silence.
static float untrimmed_db(float level_db, float trim_db) {
    if (!(level_db > EH_SILENCE_DBFS && level_db < 1e6f)) return EH_SILENCE_DBFS;
    const float db = level_db - trim_db;
    return db < EH_SILENCE_DBFS ? EH_SILENCE_DBFS : db > LEVEL_LIMIT_DB ? LEVEL_LIMIT_DB : db;
}

// Powers of levels without the trim; silence is no power at all. n is a multiple of 4.
static void powers_of(const float *level_db, float trim_db, float *power, int n) {
    for (int i = 0; i < n; i++) power[i] = untrimmed_db(level_db[i], trim_db);
    for (int i = 0; i < n; i += EH_LANES_PER_VECTOR) {
        const v4 db = v4_load(power + i), is = v4_exp2_bounded(db * LOG2_PER_DB);
        v4_store(power + i, v4_select(db > v4_set1(EH_SILENCE_DBFS), is, v4_set1(0.0f)));
    }
}

static void write_mel(const eh_shown_channel *c, float *out) {
    float total = 0.0f, pooled[EH_N_POOLED];
    for (int i = 0; i < EH_N_POOLED; i++) total += pooled[i] = c->mel[2 * i] + c->mel[2 * i + 1];
    const float scale = 1.0f / (total > SILENT_POWER ? total : SILENT_POWER);
    const v4 db_per_log2 = v4_set1((float)(EH_DB_PER_LOG2 / 2)), least = v4_set1(1e-30f);
    for (int i = 0; i < EH_N_MEL; i += EH_LANES_PER_VECTOR) {
        const v4 db = v4_log2(v4_max(v4_load(c->mel_now + i) * scale, least)) * db_per_log2;
        v4_store(out + EH_MODEL_INPUT_MEL_NOW + i, (db + 30.0f) * (1.0f / 50.0f));
    }
    for (int i = 0; i < EH_N_POOLED; i += EH_LANES_PER_VECTOR) {
        const v4 db = v4_log2(v4_max(v4_load(pooled + i) * scale, least)) * db_per_log2;
        v4_store(out + EH_MODEL_INPUT_MEL_SLOW + i, (db + 30.0f) * (1.0f / 30.0f));
    }
}

static float root(float ratio) { return ratio > 0.0f ? 2.0f * __builtin_sqrtf(ratio) - 1.0f : -1.0f; }

static void write_shape(const eh_channel_features *r, float *out) {
    out[EH_MODEL_INPUT_CENTROID] = eh_clip(eh_log2f(sane(r->centroid_hz) * (1.0f / 500.0f)) / 5.0f);
    out[EH_MODEL_INPUT_ROLLOFF] = eh_clip(eh_log2f(sane(r->rolloff_hz) * 0.001f) / 5.0f);
    out[EH_MODEL_INPUT_FLUX] = eh_clip(root(sane(r->flux)));
    out[EH_MODEL_INPUT_FLATNESS] = eh_clip((LOG10_OF_2 * eh_log2f(sane(r->flatness)) + 2.0f) / 2.0f);
    out[EH_MODEL_INPUT_CREST] = eh_clip((sane(r->crest_db) - 10.0f) / 10.0f);
    const float attack_ms = sane(r->attack_ms), decay_db_per_s = sane(r->decay_db_per_s);
    out[EH_MODEL_INPUT_ATTACK] = attack_ms > 0.0f ? eh_clip(LOG10_OF_2 * eh_log2f(attack_ms / 20.0f)) : 0.0f;
    out[EH_MODEL_INPUT_DECAY] =
        decay_db_per_s > 0.0f ? eh_clip(LOG10_OF_2 * eh_log2f(decay_db_per_s / 60.0f) / 1.2f) : 0.0f;
    out[EH_MODEL_INPUT_BRIGHTNESS] = eh_clip(root(sane(r->brightness)));
    out[EH_MODEL_INPUT_ROUGHNESS] = eh_clip(root(sane(r->roughness)));
    out[EH_MODEL_INPUT_SYLLABIC] = eh_clip(4.0f * sane(r->syllabic_modulation) - 1.0f);
    out[EH_MODEL_INPUT_BLEED_COHERENCE] = eh_clip(2.0f * sane(r->bleed_coherence) - 1.0f);
    out[EH_MODEL_INPUT_BLEED_DELAY] = eh_clip(sane(r->bleed_delay_ms) / 20.0f);
    out[EH_MODEL_INPUT_HAS_BLEED_SOURCE] = r->bleed_source >= 0.0f ? 1.0f : -1.0f;
}

static void update_means(const eh_shown *s, eh_shown_channel *c, const float *out, float onsets) {
    const float now[EH_N_MEANS] = {
        [EH_MEAN_FLUX] = out[EH_MODEL_INPUT_FLUX],
        [EH_MEAN_FLATNESS] = out[EH_MODEL_INPUT_FLATNESS],
        [EH_MEAN_BRIGHTNESS] = out[EH_MODEL_INPUT_BRIGHTNESS],
        [EH_MEAN_ROUGHNESS] = out[EH_MODEL_INPUT_ROUGHNESS],
        [EH_MEAN_ONSETS] = onsets,
        [EH_MEAN_IS_ACTIVE] = out[EH_MODEL_INPUT_IS_ACTIVE],
        [EH_MEAN_LEVEL_NOW] = out[EH_MODEL_INPUT_LEVEL_NOW],
        [EH_MEAN_CREST] = out[EH_MODEL_INPUT_CREST],
        [EH_MEAN_CENTROID] = out[EH_MODEL_INPUT_CENTROID],
        [EH_MEAN_BLEED_COHERENCE] = out[EH_MODEL_INPUT_BLEED_COHERENCE],
    };
    const float fast = eh_share(s->fast_share, c->n_ticks), slow = eh_share(s->slow_share, c->n_active);
    for (int i = 0; i < EH_N_MEANS; i++) {
        eh_towards(&c->fast[i], now[i], fast);
        if (i == EH_MEAN_IS_ACTIVE)
            eh_towards(&c->slow[i], now[i], eh_share(s->slow_share, c->n_ticks));
        else if (c->is_active)
            eh_towards(&c->slow[i], now[i], slow);
    }
}

static void learn(const eh_shown *s, eh_shown_channel *c, const float *bark) {
    const float share = eh_share(s->slow_share, c->n_active);
    for (int i = 0; i < EH_N_MEL; i++) eh_towards(&c->mel[i], c->mel_now[i], share);
    for (int i = 0; i < EH_N_BARK; i++) eh_towards(&c->bark[i], bark[i], share);
    eh_towards(&c->loudness, c->loudness_now > SILENT_POWER ? c->loudness_now : SILENT_POWER, share);
}

static void write_never_active(const eh_shown_channel *c, float *out) {
    for (int i = 0; i < EH_N_MODEL_INPUT; i++) out[i] = i < EH_MODEL_INPUT_CENTROID ? -1.0f : 0.0f;
    out[EH_MODEL_INPUT_IS_ACTIVE] = out[EH_MODEL_INPUT_HAS_BLEED_SOURCE] = -1.0f;
    out[EH_MODEL_INPUT_IS_STEREO] = c->is_stereo ? 1.0f : -1.0f;
}

void eh_shown_listen(eh_shown *s, eh_shown_channel *c, const eh_channel_features *r, float trim_db, float tick_s,
                     float *out) {
    float bark[EH_N_BARK];
    const float trim = trim_db >= -TRIM_LIMIT_DB && trim_db <= TRIM_LIMIT_DB ? trim_db : 0.0f;
    powers_of(r->log_mel_db, trim, c->mel_now, EH_N_MEL);
    const float loudness_db = untrimmed_db(r->loudness_momentary_lufs, trim);
    c->loudness_now = loudness_db > EH_SILENCE_DBFS ? v4_exp2_bounded(v4_set1(loudness_db * LOG2_PER_DB))[0] : 0.0f;
    c->is_active = r->is_active > 0.5f;
    const int is_onset = r->onset > 0.5f;
    c->onset = is_onset ? 1.0f : c->onset * s->onset_keep;
    if (c->is_active) {
        c->n_active += c->n_active < UINT32_MAX;
        powers_of(r->bark_dbfs, trim, bark, EH_N_BARK);
        learn(s, c, bark);
    }
    write_never_active(c, out);
    if (c->n_active == 0) return;
    c->n_ticks += c->n_ticks < UINT32_MAX;
    const float slow_db = eh_dbf(c->loudness);
    write_mel(c, out);
    write_shape(r, out);
    out[EH_MODEL_INPUT_ONSET] = c->onset;
    out[EH_MODEL_INPUT_IS_ACTIVE] = c->is_active ? 1.0f : -1.0f;
    out[EH_MODEL_INPUT_LEVEL_NOW] = eh_clip((loudness_db - slow_db) / 30.0f);
    update_means(s, c, out, (is_onset ? 0.25f / tick_s : 0.0f) - 1.0f);
    for (int i = 0; i < EH_N_MEANS; i++) {
        out[EH_MODEL_INPUT_FAST_MEANS + i] = c->fast[i];
        out[EH_MODEL_INPUT_SLOW_MEANS + i] = c->slow[i];
    }
    out[EH_MODEL_INPUT_SLOW_LOUDNESS] = (slow_db + 30.0f) / 40.0f;
    const float floor_db = untrimmed_db(r->noise_floor_dbfs, trim);
    out[EH_MODEL_INPUT_NOISE_ROOM] = (slow_db - floor_db - 45.0f) / 45.0f;
    out[EH_MODEL_INPUT_HEARD] = eh_log2f(1.0f + (float)c->n_active * tick_s) / 6.0f;
    for (int i = 0; i < EH_N_MODEL_INPUT; i++) out[i] = eh_clip(out[i]);
}
