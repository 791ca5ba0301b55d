// The live threads in a program of their own, for the sanitizers: engine, segment, recorder's ring and card as in the
// engine process, without Python.
//
// live_box PCM SEGMENT N_LANES N_OUTPUTS PERIOD_FRAMES
// Says "started", then publishes other parameters and takes what there is for each byte on standard input; at its end
// it stops and says periods, xruns, losses, returns.
#include "live/live.h"
#include "live/record_shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES_PER_TICK = 960 };

static eh_live_config live_config(char **argv) {
    eh_live_config c = {.tick_frames = FRAMES_PER_TICK, .audio_core = -1, .analysis_core = -1};
    eh_card_config *card = &c.card;
    snprintf(card->capture_pcm, sizeof card->capture_pcm, "%s", argv[1]);
    snprintf(card->playback_pcm, sizeof card->playback_pcm, "%s", argv[1]);
    card->sample_rate_hz = 48000;
    card->n_capture = card->n_capture_lanes = atoi(argv[3]);
    card->n_playback = atoi(argv[4]);
    card->period_frames = atoi(argv[5]);
    card->n_periods = 2;
    card->formats[0] = EH_FORMAT_S32;
    for (int lane = 0; lane < card->n_capture_lanes; lane++) card->capture_channel[lane] = lane;
    for (int ch = 0; ch < card->n_playback; ch++) card->playback_output[ch] = ch < EH_N_OUTPUTS ? ch : -1;
    card->timeout_ms = 20000;
    return c;
}

static void look(eh_segment_hold *control, int number) {
    static eh_observation observation;
    static unsigned char notebook[EH_NOTEBOOK_BYTES];
    eh_event event;
    eh_params params;
    eh_params_set_defaults(&params);
    for (int ch = 0; ch < EH_N_CHANNEL; ch++) params.channel[ch].fader.level_db = -(float)((number + ch) % 20);
    eh_segment_publish(control, &params);
    while (eh_segment_take_observation(control, &observation)) eh_segment_beat(control, observation.frame);
    while (eh_segment_take_event(control, &event)) continue;
    eh_segment_write_notebook(control, number % EH_N_NOTEBOOKS, &params, sizeof params);
    eh_segment_read_notebook(control, number % EH_N_NOTEBOOKS, notebook, sizeof notebook);
    eh_segment_latest(control, &observation);
    eh_segment_params(control, &params);
    eh_segment_probe(control, number % 50 == 49 ? 0 : -1);
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    const eh_live_config config = live_config(argv);
    eh_engine_config mixer = {.sample_rate_hz = 48000.0f};
    mixer.n_capture_lanes = mixer.n_channels = config.card.n_capture_lanes;
    const eh_record_config recording = {
        .sample_rate_hz = 48000, .n_input_lanes = (uint32_t)mixer.n_capture_lanes, .n_ring_frames = 4800};
    eh_record_ring ring;
    eh_record_reader reader;
    const size_t n_bytes = (eh_record_ring_size_bytes(&recording) + 63) / 64 * 64;
    void *memory = aligned_alloc(64, n_bytes);
    if (!memory || eh_record_ring_init(&ring, &recording, memory) != EH_OK) return 2;
    if (eh_record_reader_attach(&reader, memory, n_bytes) != EH_RECORD_RING_OK) return 2;
    eh_record_reader_arm(&reader);
    static uint8_t inputs[3 * 480 * EH_RECORD_MAX_INPUT_LANES], mix[3 * 480 * EH_RECORD_MIX_LANES];

    eh_segment_hold engine, control;
    char why[EH_WHY_BYTES] = "";
    if (eh_segment_open(&engine, argv[2], EH_SIDE_ENGINE, &mixer) != EH_HOLD_OK) return 2;
    if (eh_segment_open(&control, argv[2], EH_SIDE_CONTROL, NULL) != EH_HOLD_OK) return 2;
    eh_live *live = eh_live_start(&config, &engine, &ring, why);
    if (!live) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    puts("started");
    fflush(stdout);
    int number = 0;
    for (char byte; read(STDIN_FILENO, &byte, 1) == 1; number++) {
        eh_record_mark mark;
        look(&control, number);
        while (eh_record_reader_take_mark(&reader, &mark) || eh_record_reader_take_s24(&reader, inputs, mix, 480) > 0)
            continue;
    }
    eh_live_stop(live);
    eh_live_status status;
    eh_segment_status(&control, &status);
    printf("%llu %llu %llu %llu\n", (unsigned long long)status.counter[EH_COUNT_PERIODS],
           (unsigned long long)status.counter[EH_COUNT_XRUNS], (unsigned long long)status.counter[EH_COUNT_CARD_LOSSES],
           (unsigned long long)status.counter[EH_COUNT_CARD_RETURNS]);
    eh_segment_close(&control);
    eh_segment_close(&engine);
    free(memory);
    return 0;
}
