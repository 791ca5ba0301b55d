// Everybody at one segment at once: audio tells and takes snapshots, analysis puts observations, control takes both
// and publishes, a viewer looks at the status. For the thread sanitizer, and to see that what arrives is whole and in
// order. With -DTORN_SEGMENT the rings are relaxed, which the sanitizer must find.
//
// Only what orders itself: a look at the latest observation, snapshot or notebook copies what may be overwritten
// meanwhile and then throws it away, which no sanitizer can know.
#include "live/segment_layout.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { N_PUTS = 3000, N_TELLS = 20000 };

static eh_segment_hold engine, control;  // one mapping, so that the sanitizer sees both sides
static atomic_int is_done;

static void *audio(void *failures) {
    float last = 0.0f;
    for (uint64_t i = 1; i <= N_TELLS; i++) {
        const eh_event event = {.frame = i, .time_ns = i, .value = (int64_t)i, .index = (int32_t)i, .kind = 2};
        eh_segment_tell(engine.segment, &event);
        eh_segment_count(engine.segment, EH_COUNT_PERIODS, 1);
        eh_segment_count_us(engine.segment->wake_us, i * 100);
        const eh_params *params = eh_mailbox_read(&engine.segment->params);
        if (!params) continue;
        const float first = params->channel[0].fader.level_db, end = params->system.panic.is_on;
        *(int *)failures += first != end || first <= last;
        last = first;
    }
    return NULL;
}

static void *analysis(void *failures) {
    static eh_observation observation;
    float last = 0.0f;
    for (uint64_t i = 1; i <= N_PUTS; i++) {
        observation.frame = i;
        observation.features[31].rms_dbfs = (float)i;
        eh_segment_put_observation(engine.segment, &observation);
        const int slot = eh_triple_take(&engine.segment->mix_gain_owner);
        if (slot < 0) continue;
        const float first = engine.segment->mix_gain_lin[slot][0][0];
        *(int *)failures += first != engine.segment->mix_gain_lin[slot][EH_N_CHANNEL - 1][EH_N_BARK - 1];
        *(int *)failures += first <= last;
        last = first;
    }
    return NULL;
}

static void *decide(void *failures) {
    static eh_observation observation;
    static float gain_lin[EH_N_CHANNEL][EH_N_BARK];
    eh_event event;
    eh_params params;
    eh_params_set_defaults(&params);
    uint64_t last_frame = 0, last_event = 0;
    for (float number = 1.0f; !atomic_load(&is_done); number += 1.0f) {
        eh_segment_wait(&control, 1);
        while (eh_segment_take_observation(&control, &observation)) {
            *(int *)failures += observation.frame <= last_frame;
            *(int *)failures += observation.features[31].rms_dbfs != (float)observation.frame;
            last_frame = observation.frame;
        }
        while (eh_segment_take_event(&control, &event)) {
            *(int *)failures += event.frame <= last_event || event.value != (int64_t)event.frame;
            last_event = event.frame;
        }
        params.channel[0].fader.level_db = params.system.panic.is_on = number;
        eh_segment_publish(&control, &params);
        gain_lin[0][0] = gain_lin[EH_N_CHANNEL - 1][EH_N_BARK - 1] = number;
        eh_segment_set_mix_gain_bark(&control, gain_lin[0]);
        eh_segment_write_notebook(&control, 0, &params, sizeof params);
        eh_segment_beat(&control, last_frame);
    }
    *(int *)failures += last_frame == 0 || last_event == 0;
    return NULL;
}

static void *look(void *unused) {
    static eh_live_status status;
    (void)unused;
    while (!atomic_load(&is_done)) eh_segment_status(&control, &status);
    return NULL;
}

int main(int argc, char **argv) {
    const eh_engine_config config = {.sample_rate_hz = 48000.0f, .n_capture_lanes = 4, .n_channels = 4};
    if (argc != 2 || eh_segment_open(&engine, argv[1], EH_SIDE_ENGINE, &config) != EH_HOLD_OK) return 2;
    control = engine;
    int failures[3] = {0};
    pthread_t threads[4];
    pthread_create(&threads[0], NULL, audio, &failures[0]);
    pthread_create(&threads[1], NULL, analysis, &failures[1]);
    pthread_create(&threads[2], NULL, decide, &failures[2]);
    pthread_create(&threads[3], NULL, look, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    usleep(20000);  // for control to take what is left
    atomic_store(&is_done, 1);
    for (int i = 2; i < 4; i++) pthread_join(threads[i], NULL);
    const int n_failures = failures[0] + failures[1] + failures[2];
    printf("%d torn, backwards or missing\n", n_failures);
    return n_failures != 0;
}
