// What a model is shown: the caller's face, and what compares channels with each other.
#include "model_input_state.h"

#define FAST_S 1.0
#define SLOW_S 8.0
#define LONG_S 30.0
#define ONSET_MS 60.0
#define HEARD_S 0.3f

static eh_shown *shown(const eh_model_input *m) { return m->memory; }

size_t eh_model_input_size_bytes(int n_channels) {
    if (n_channels < 1 || n_channels > EH_MAX_LANES) return 0;
    return sizeof(eh_shown) + (size_t)n_channels * sizeof(eh_shown_channel);
}

eh_status eh_model_input_init(eh_model_input *m, int n_channels, float tick_s, void *memory) {
    const size_t size_bytes = eh_model_input_size_bytes(n_channels);
    if (size_bytes == 0 || !(tick_s >= 0.001f && tick_s <= 0.1f) || !memory) return EH_ERR_ARGUMENT;
    memset(memory, 0, size_bytes);
    *m = (eh_model_input){.n_channels = n_channels, .tick_s = tick_s, .memory = memory};
    eh_shown *s = shown(m);
    s->fast_share = (float)(tick_s / FAST_S);
    s->slow_share = (float)(tick_s / SLOW_S);
    s->long_share = (float)(tick_s / LONG_S);
    s->onset_keep = (float)eh_one_pole_coeff(ONSET_MS, 1.0 / tick_s);
    return EH_OK;
}

void eh_model_input_reset_channel(eh_model_input *m, int channel) {
    if (channel < 0 || channel >= m->n_channels) return;
    eh_shown_channel *c = &shown(m)->channel[channel];
    *c = (eh_shown_channel){.is_stereo = c->is_stereo};
}

void eh_model_input_reset(eh_model_input *m) {
    for (int ch = 0; ch < m->n_channels; ch++) eh_model_input_reset_channel(m, ch);
    shown(m)->mix = (eh_shown_mix){0};
}

void eh_model_input_set_stereo(eh_model_input *m, int channel, int is_stereo) {
    if (channel >= 0 && channel < m->n_channels) shown(m)->channel[channel].is_stereo = is_stereo != 0;
}

// How much of each critical band the others have, weighted by the channel's own powers, were all equally loud.
static float masked_at_equal_loudness(const eh_shown_channel *c, const int64_t *all) {
    float masked = 0.0f, total = 0.0f;
    for (int b = 0; b < EH_N_BARK; b++) {
        const float scaled = c->bark[b] / c->loudness, own = scaled < 1e4f ? scaled : 1e4f;
        const float others = eh_unwhole(all[b] - (c->is_heard ? eh_whole(own) : 0));
        total += own;
        if (own > 0.0f) masked += own * (others / (others + own));
    }
    return total > 0.0f ? masked / total : 0.0f;
}

static void compare(const eh_model_input *m, float *out) {
    const eh_shown *s = shown(m);
    int64_t all[EH_N_BARK] = {0}, sum_db = 0;
    float loudness_db[EH_MAX_LANES];
    int n_heard = 0;
    for (int ch = 0; ch < m->n_channels; ch++) {
        const eh_shown_channel *c = &s->channel[ch];
        loudness_db[ch] = eh_dbf(c->loudness);
        if (!c->is_heard) continue;
        n_heard++;
        sum_db += (int64_t)(loudness_db[ch] * 0x1p20f);
        for (int b = 0; b < EH_N_BARK; b++) {
            const float scaled = c->bark[b] / c->loudness;
            all[b] += eh_whole(scaled < 1e4f ? scaled : 1e4f);
        }
    }
    const float mean_db = n_heard ? (float)sum_db * 0x1p-20f / (float)n_heard : 0.0f;
    for (int ch = 0; ch < m->n_channels; ch++, out += EH_N_MODEL_INPUT) {
        const eh_shown_channel *c = &s->channel[ch];
        out[EH_MODEL_INPUT_COUNT] = n_heard ? eh_clip(eh_log2f((float)n_heard) / 5.0f) : -1.0f;
        if (c->n_active == 0 || n_heard == 0) continue;
        int rank = 0, n_others = 0;
        for (int other = 0; other < m->n_channels; other++) {
            if (other == ch || !s->channel[other].is_heard) continue;
            n_others++;
            rank += (loudness_db[other] < loudness_db[ch]) - (loudness_db[other] > loudness_db[ch]);
        }
        out[EH_MODEL_INPUT_LOUDNESS_VS_MEAN] = eh_clip((loudness_db[ch] - mean_db) / 30.0f);
        out[EH_MODEL_INPUT_LOUDNESS_RANK] = n_others ? (float)rank / (float)n_others : 0.0f;
        out[EH_MODEL_INPUT_MASKED_AT_EQUAL_LOUDNESS] = eh_clip(2.0f * masked_at_equal_loudness(c, all) - 1.0f);
    }
}

void eh_model_input_process(eh_model_input *m, const eh_channel_features *records, const eh_mix_features *mix,
                            const float *trim_db, float *out, float *out_mix) {
    eh_shown *s = shown(m);
    for (int ch = 0; ch < m->n_channels; ch++) {
        eh_shown_channel *c = &s->channel[ch];
        eh_shown_listen(s, c, &records[ch], trim_db[ch], m->tick_s, out + (size_t)ch * EH_N_MODEL_INPUT);
        c->is_heard = (float)c->n_active * m->tick_s > HEARD_S;
    }
    compare(m, out);
    eh_shown_sum(s, m->n_channels, mix, out_mix);
}
