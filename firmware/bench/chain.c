// The whole mixer, from the card's integers to the card's integers, for timing and for counting instructions.
//
// Every strip: high-pass, gate, four bells, compressor, gain sharing, fader, pan, a reverb send; behind them reverb,
// limiters on all outputs (true peak on the record bus) and the loudness meter; with analysis, every hop's features
// too. Program: bench chain|analysis N_CHANNELS N_FRAMES N_BLOCKS.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine_state.h"

enum { N_NOISE_BLOCKS = 16, MAX_FRAMES = 256 };

static eh_engine *engine;
static int channels, frames;
static int32_t card_in[N_NOISE_BLOCKS * MAX_FRAMES * EH_N_CHANNEL], card_out[MAX_FRAMES * EH_N_OUTPUTS];
static float in[MAX_FRAMES * EH_N_CHANNEL], out[MAX_FRAMES * EH_N_OUTPUTS];

static eh_params busy_parameters(void) {
    eh_params p;
    eh_params_set_defaults(&p);
    for (int ch = 0; ch < EH_N_CHANNEL; ch++) {
        eh_channel_scope *c = &p.channel[ch];
        c->hpf.is_on = c->gate.is_on = c->compressor.is_on = 1.0f;
        c->gate.threshold_dbfs = -18.0f;
        for (int band = 0; band < EH_N_EQ_BANDS; band++) c->eq[band].gain_db = 3.0f;
        c->automix.group = 1.0f;
        c->fader.level_db = -12.0f;  // a mix near its working level: the limiters catch peaks, they do not hold it down
        c->fx_send[0].level_db = -12.0f;
    }
    p.record.limiter.is_true_peak = 1.0f;
    return p;
}

void eh_chain_prepare(int n_channels, int n_frames) {
    free(engine);  // it lies at the start of its arena
    engine = NULL;
    const eh_engine_config config = {
        .sample_rate_hz = 48000.0f, .n_capture_lanes = n_channels, .n_channels = n_channels};
    void *arena = aligned_alloc(64, eh_engine_size_bytes(&config));
    if (!arena || eh_engine_init(&engine, &config, arena) != EH_OK) abort();
    const eh_params p = busy_parameters();
    eh_engine_publish(engine, &p);
    channels = n_channels;
    frames = n_frames;
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof card_in / sizeof card_in[0]; i++) {
        state = state * 1664525u + 1013904223u;
        card_in[i] = (int32_t)state / 4;
    }
}

static void skip_analysis(void) {
    const float *input, *strip;
    for (size_t n; (n = eh_tap_ring_peek(&engine->taps, &input, &strip)) > 0;) eh_tap_ring_consume(&engine->taps, n);
}

double eh_chain_run(int n_blocks, int with_analysis) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int block = 0; block < n_blocks; block++) {
        const size_t n_in = (size_t)(frames * channels);
        eh_convert_from_s32(card_in + (size_t)(block % N_NOISE_BLOCKS) * n_in, in, n_in);
        eh_engine_process(engine, in, out, NULL, (size_t)frames);
        eh_convert_to_s32(out, card_out, (size_t)(frames * EH_N_OUTPUTS));
        if (with_analysis)
            eh_engine_analyse(engine);
        else
            skip_analysis();
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return 1e9 * (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec);
}

static double thread_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

// Processor time of each block, without analysis. What other processes take away in between is not counted; what they
// do to the caches, and what the host takes from a virtual machine unseen, is.
void eh_chain_block_ns(int n_blocks, float *block_ns) {
    for (int block = 0; block < n_blocks; block++) {
        const double start_ns = thread_ns();
        eh_chain_run(1, 0);
        block_ns[block] = (float)(thread_ns() - start_ns);
    }
}

#ifdef EH_BENCH_MAIN
int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: bench chain|analysis N_CHANNELS N_FRAMES N_BLOCKS\n");
        return 2;
    }
    eh_chain_prepare(atoi(argv[2]), atoi(argv[3]));
    eh_chain_run(atoi(argv[4]), strcmp(argv[1], "analysis") == 0);
    return 0;
}
#endif
