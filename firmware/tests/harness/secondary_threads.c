// Writer and reader of one link as real threads, for the thread sanitizer: what comes out is what went in, or
// silence, whatever the scheduler does. Time is what the threads say it is.
#include "live/secondary.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_LANES = 4, WRITE_FRAMES = 48, READ_FRAMES = 64, N_READS = 8000, MAX_AHEAD_FRAMES = 200 };
static const int64_t FRAME_NS = 20833;

static eh_secondary *link_;
static atomic_int is_done;
static atomic_llong writer_frames, reader_frames;

// Simulated time goes on only while both threads do: neither gets further ahead than the target allows. Relaxed, so
// that nothing but the link itself orders what they do.
static void stay_near(atomic_llong *mine, int64_t frames, atomic_llong *other) {
    atomic_store_explicit(mine, frames, memory_order_relaxed);
    while (!atomic_load_explicit(&is_done, memory_order_relaxed) &&
           frames > atomic_load_explicit(other, memory_order_relaxed) + MAX_AHEAD_FRAMES)
        sched_yield();
}

static void *write_all(void *unused) {
    (void)unused;
    float in[WRITE_FRAMES * N_LANES];
    int64_t frames = 0;
    while (!atomic_load_explicit(&is_done, memory_order_relaxed)) {
        for (int i = 0; i < WRITE_FRAMES * N_LANES; i++) in[i] = 0.5f;
        frames += WRITE_FRAMES;
        stay_near(&writer_frames, frames, &reader_frames);
        if (frames % (WRITE_FRAMES * 4001) == 0) eh_secondary_writer_lost_frames(link_);
        eh_secondary_write(link_, in, WRITE_FRAMES, frames * FRAME_NS);
    }
    return NULL;
}

static void *read_all(void *failures) {
    float out[READ_FRAMES * N_LANES];
    int64_t frames = 0;
    for (int i = 0; i < N_READS; i++) {
        frames += READ_FRAMES;
        stay_near(&reader_frames, frames, &writer_frames);
        eh_secondary_read(link_, out, READ_FRAMES, frames * FRAME_NS);
        for (int k = 0; k < READ_FRAMES * N_LANES; k++) *(int *)failures += !(out[k] >= -0.06f && out[k] <= 0.56f);
    }
    atomic_store_explicit(&is_done, 1, memory_order_relaxed);
    return NULL;
}

int main(void) {
    const eh_secondary_config config = {.writer_rate_hz = 48000.0,
                                        .reader_rate_hz = 48000.0,
                                        .n_lanes = N_LANES,
                                        .max_write_frames = WRITE_FRAMES,
                                        .max_read_frames = READ_FRAMES,
                                        .target_frames = 600};
    void *arena = aligned_alloc(64, eh_secondary_size_bytes(&config));
    if (!arena || eh_secondary_init(&link_, &config, arena) != EH_OK) return 2;
    int failures = 0;
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, write_all, NULL);
    pthread_create(&threads[1], NULL, read_all, &failures);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    const eh_secondary_stats stats = eh_secondary_read_stats(link_);
    printf("%d wrong, %u starved, %u gaps, %u recentred, sounding %d\n", failures, stats.n_starved, stats.n_gaps,
           stats.n_recentred, stats.is_sounding);
    free(arena);
    return failures != 0 || !stats.is_sounding || stats.n_gaps == 0;
}
