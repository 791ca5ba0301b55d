// Feeds the engine noise, silence, full-scale squares, NaN, Inf and denormals for as long as told, while parameters
// jump, and then asks whether anything is left of it: outputs, meters, features and loudness finite all the way,
// silence after silence, and the same sound as a fresh engine afterwards.
//
// hostile_hour SECONDS [N_CHANNELS]. Exit status 0 when every promise held; otherwise 1 and a line that says which did
// not.
#include "engine.h"
#include "units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_FRAMES = 64, RATE_HZ = 48000, SEED = 12345 };

static uint32_t random_state = SEED;

static float uniform(void) {  // [-1, 1)
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return (float)(int32_t)random_state / 2147483648.0f;
}

static float hostile_sample(int kind, size_t n) {
    switch (kind) {
        case 0:
            return 0.3f * uniform();
        case 1:
            return 0.0f;
        case 2:
            return n / 48 % 2 ? 1.0f : -1.0f;
        case 3:
            return uniform() > 0.9f ? NAN : 0.1f * uniform();
        case 4:
            return uniform() > 0.9f ? INFINITY * (uniform() > 0 ? 1 : -1) : uniform();
        case 5:
            return 1e-41f * (float)(1 + n % 100);
        case 6:
            return 1e38f * uniform();
        default:
            return n % 4800 == 0 ? 1.0f : 0.0f;
    }
}

static float between(float low, float high) { return low + (high - low) * 0.5f * (uniform() + 1.0f); }

static void shake_parameters(eh_params *p, int n_channels) {
    eh_channel_scope *c = &p->channel[(unsigned)(between(0, 1) * 1000) % (unsigned)n_channels];
    c->hpf.is_on = uniform() > 0;
    c->hpf.freq_hz = between(20, 1000);
    for (int band = 0; band < EH_N_EQ_BANDS; band++) {
        c->eq[band].type = (float)(int)between(0, 2.99f);
        c->eq[band].freq_hz = between(20, 20000);
        c->eq[band].gain_db = between(-18, 18);
        c->eq[band].q = between(0.1f, 20);
    }
    c->gate.is_on = uniform() > 0;
    c->compressor.is_on = uniform() > 0;
    c->compressor.is_automatic = uniform() > 0;
    c->saturation.is_on = uniform() > 0;
    c->saturation.drive_db = between(0, 24);
    c->automix.group = (float)(int)between(0, 8.99f);
    c->input.delay_ms = between(0, 20);
    c->input.trim_db = between(-40, 40);
    c->fx_send[0].level_db = between(-40, 0);
    c->fx_send[1].level_db = between(-40, 0);
    p->group[0].share.mode = (float)(int)between(0, 3.99f);
    p->reverb.reverb.decay_s = between(0.2f, 8);
    p->delay.delay.feedback_percent = between(0, 90);
    p->delay.delay.tempo_bpm = between(40, 240);
    c->tilt.gain_db = uniform() > 0.9f ? NAN : between(-6, 6);
}

static int all_finite(const float *x, size_t n, const char *what, double time_s) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) {
            printf("%s[%zu] is %g after %.2f s\n", what, i, (double)x[i], time_s);
            return 0;
        }
    return 1;
}

static int records_finite(eh_engine *e, int n_channels, double time_s) {
    eh_channel_meters channels[EH_N_CHANNEL];
    eh_bus_meters buses[EH_N_OUTPUTS];
    eh_engine_read_meters(e, channels, buses);
    const eh_loudness_reading loudness = eh_engine_loudness(e);
    const size_t n_features = sizeof(eh_channel_features) / sizeof(float) * (size_t)n_channels;
    return all_finite((const float *)channels, sizeof *channels / sizeof(float) * (size_t)n_channels, "meter",
                      time_s) &&
           all_finite((const float *)buses, sizeof *buses / sizeof(float) * EH_N_OUTPUTS, "bus meter", time_s) &&
           all_finite((const float *)&loudness, sizeof loudness / sizeof(float), "loudness", time_s) &&
           all_finite((const float *)eh_engine_features(e), n_features, "feature", time_s);
}

static eh_engine *make_engine(int n_channels) {
    const eh_engine_config config = {
        .sample_rate_hz = RATE_HZ, .n_capture_lanes = n_channels, .n_channels = n_channels};
    void *arena = aligned_alloc(64, (eh_engine_size_bytes(&config) + 63) / 64 * 64);
    eh_engine *e = NULL;
    if (!arena || eh_engine_init(&e, &config, arena) != EH_OK) exit(2);
    return e;
}

static double run_silence(eh_engine *e, const float *silence, float *out, int n_seconds) {
    double last = 0.0;
    for (int block = 0; block < n_seconds * RATE_HZ / N_FRAMES; block++) {
        eh_engine_process_in_step(e, silence, out, NULL, N_FRAMES);
        last = 0.0;
        for (int i = 0; i < N_FRAMES * EH_N_OUTPUTS; i++) last = fmax(last, fabs((double)out[i]));
    }
    return last;
}

// The engine that went through it and a fresh one, with the same parameters and sound: how far apart, in dB?
static double difference_db(eh_engine *used, eh_engine *fresh, float *in, int n_channels) {
    static float a[N_FRAMES * EH_N_OUTPUTS], b[N_FRAMES * EH_N_OUTPUTS];
    double difference = 0.0, reference = 0.0;
    for (int block = 0; block < 10 * RATE_HZ / N_FRAMES; block++) {
        for (int i = 0; i < N_FRAMES * n_channels; i++) in[i] = 0.1f * uniform();
        eh_engine_process_in_step(used, in, a, NULL, N_FRAMES);
        eh_engine_process_in_step(fresh, in, b, NULL, N_FRAMES);
        if (block < 8 * RATE_HZ / N_FRAMES) continue;  // slow followers settle
        for (int i = 0; i < N_FRAMES * EH_N_OUTPUTS; i++) {
            difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
            reference += (double)b[i] * b[i];
        }
    }
    return 10.0 * log10((difference + 1e-30) / (reference + 1e-30));
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const double seconds = atof(argv[1]);
    const int n_channels = argc > 2 ? atoi(argv[2]) : EH_N_CHANNEL;
    float *in = calloc((size_t)N_FRAMES * (size_t)n_channels, sizeof *in), out[N_FRAMES * EH_N_OUTPUTS];
    eh_engine *e = make_engine(n_channels), *fresh = make_engine(n_channels);
    eh_params params;
    eh_params_set_defaults(&params);
    int ok = 1;
    const size_t n_blocks = (size_t)(seconds * RATE_HZ / N_FRAMES);
    for (size_t block = 0; ok && block < n_blocks; block++) {
        for (int ch = 0; ch < n_channels; ch++) {
            const int kind = (int)(((size_t)ch * 7 + block / 500) % 8);
            for (size_t n = 0; n < N_FRAMES; n++)
                in[n * (size_t)n_channels + (size_t)ch] = hostile_sample(kind, block * N_FRAMES + n);
        }
        if (block % 50 == 0) {
            shake_parameters(&params, n_channels);
            eh_engine_publish(e, &params);
        }
        eh_engine_process_in_step(e, in, out, NULL, N_FRAMES);
        const double time_s = (double)block * N_FRAMES / RATE_HZ;
        ok = all_finite(out, sizeof out / sizeof out[0], "output", time_s);
        if (ok && block % 200 == 0) ok = records_finite(e, n_channels, time_s);
    }
    const eh_engine_stats stats = eh_engine_read_stats(e);
    eh_params_set_defaults(&params);
    eh_engine_publish(e, &params);
    memset(in, 0, (size_t)N_FRAMES * (size_t)n_channels * sizeof *in);
    const double residue = ok ? run_silence(e, in, out, 30) : 0.0;
    if (ok && residue != 0.0) {
        printf("after 30 s of silence the outputs still read %g\n", residue);
        ok = 0;
    }
    const double apart_db = ok ? difference_db(e, fresh, in, n_channels) : 0.0;
    if (ok && apart_db > -90.0) {
        printf("afterwards it differs from a fresh engine by %.1f dB\n", apart_db);
        ok = 0;
    }
    if (ok)
        printf("%.0f s, %d channels: finite throughout, %llu lanes healed, silent after silence, %.1f dB from fresh\n",
               seconds, n_channels, (unsigned long long)stats.n_healed, apart_db);
    free(in);
    free(e);  // the arena begins with it
    free(fresh);
    return ok ? 0 : 1;
}
