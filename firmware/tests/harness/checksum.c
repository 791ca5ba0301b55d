// Prints a checksum over every sample of a busy mixer, for comparing builds.
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    const eh_engine_config config = {
        .sample_rate_hz = 48000.0f, .n_capture_lanes = 14, .n_channels = 12, .is_stereo = {[3] = 1, [7] = 1}};
    void *arena = aligned_alloc(64, eh_engine_size_bytes(&config));
    eh_engine *e;
    if (!arena || eh_engine_init(&e, &config, arena) != EH_OK) return 2;
    eh_params p;
    eh_params_set_defaults(&p);
    for (int ch = 0; ch < config.n_channels; ch++) {
        eh_channel_scope *c = &p.channel[ch];
        c->hpf.is_on = c->gate.is_on = c->compressor.is_on = 1.0f;
        c->compressor.is_automatic = (float)(ch & 1);
        c->saturation.is_on = (float)(ch & 1);
        for (int band = 0; band < EH_N_EQ_BANDS; band++) {
            c->eq[band].type = (float)((ch + band) % 3);
            c->eq[band].gain_db = (float)(band * 3 - ch % 7);
        }
        c->tilt.gain_db = 1.0f;
        c->automix.group = (float)(ch / 2);
        c->pan.position = (float)ch / 12.0f - 0.5f;
        c->fx_send[0].level_db = c->fx_send[1].level_db = -12.0f;
        c->send[1].level_db = -6.0f;
        c->duck.role = (float)(ch % 3);
    }
    for (int group = 0; group < EH_N_GROUP; group++) p.group[group].share.mode = (float)(1 + group % 3);
    p.record.limiter.is_true_peak = 1.0f;
    eh_engine_publish(e, &p);
    const uint64_t sum = eh_null_run(e, 7, 0.4f, 1500, 64);
    const float *features = (const float *)eh_engine_features(e);
    uint64_t feature_sum = 0;
    for (size_t i = 0; i < sizeof(eh_channel_features) / sizeof(float) * 12; i++) {
        union {
            float value;
            uint32_t bits;
        } f = {.value = features[i]};
        feature_sum = (feature_sum ^ f.bits) * 0x100000001b3ULL;
    }
    printf("%016" PRIx64 " %016" PRIx64 "\n", sum, feature_sum);
    return 0;
}
