// Control publishes, audio processes, analysis analyses, all at once: for the thread sanitizer, and to see that no
// snapshot is torn or goes backwards. With -DTORN_MAILBOX the exchange is relaxed, which the sanitizer must find.
#include "engine.h"
#include "mailbox.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_SNAPSHOTS = 3000, N_FRAMES = 64, N_CHANNELS = 8 };

static eh_engine *engine;
static eh_mailbox mailbox;
static atomic_int is_done;

static void *publish(void *unused) {
    (void)unused;
    eh_params params;
    eh_params_set_defaults(&params);
    for (int i = 1; i <= N_SNAPSHOTS; i++) {
        params.channel[0].fader.level_db = -(float)(i % 60);
        params.channel[31].input.source = params.system.panic.is_on = (float)i;  // both ends of the snapshot
        eh_mailbox_write(&mailbox, &params);
        params.channel[31].input.source = params.system.panic.is_on = 0.0f;
        eh_engine_publish(engine, &params);
    }
    atomic_store(&is_done, 1);
    return NULL;
}

static void *process(void *failures) {
    float in[N_FRAMES * N_CHANNELS] = {0.1f}, out[N_FRAMES * EH_N_OUTPUTS];
    float last = 0.0f;
    while (!atomic_load(&is_done)) {
        const eh_params *p = eh_mailbox_read(&mailbox);
        if (p) {
            const float first = p->channel[31].input.source, end = p->system.panic.is_on;
            *(int *)failures += first != end || first <= last;
            last = first;
        }
        eh_engine_process(engine, in, out, NULL, N_FRAMES);
    }
    return NULL;
}

static void *analyse(void *unused) {
    (void)unused;
    while (!atomic_load(&is_done)) eh_engine_analyse(engine);
    return NULL;
}

int main(void) {
    const eh_engine_config config = {
        .sample_rate_hz = 48000.0f, .n_capture_lanes = N_CHANNELS, .n_channels = N_CHANNELS};
    void *arena = aligned_alloc(64, eh_engine_size_bytes(&config));
    if (!arena || eh_engine_init(&engine, &config, arena) != EH_OK) return 2;
    eh_mailbox_init(&mailbox);
    int failures = 0;
    pthread_t threads[3];
    pthread_create(&threads[0], NULL, publish, NULL);
    pthread_create(&threads[1], NULL, process, &failures);
    pthread_create(&threads[2], NULL, analyse, NULL);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("%d torn or backwards\n", failures);
    return failures != 0;
}
