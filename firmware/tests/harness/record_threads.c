// The audio thread puts numbered frames with gaps between them, the recorder takes them, leaves, and comes back; all at
// once: for the sanitizers, and to see that each frame is where its number says. With -DTORN_RECORD_RING the counters
// are relaxed, which the thread sanitizer must find.
#include "live/record_ring.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_LANES = 4, N_OUT_LANES = 4, FIRST_MIX_LANE = 2, N_FRAMES = 48, N_PUTS = 20000, RING_FRAMES = 500, TAKE = 300 };

static eh_record_ring ring;
static void *memory;
static size_t size_bytes;
static atomic_int is_done;

static void *put(void *unused) {
    (void)unused;
    float in[N_FRAMES * N_LANES], out[N_FRAMES * N_OUT_LANES];
    for (int i = 0; i < N_PUTS; i++) {
        for (int f = 0; f < N_FRAMES; f++)
            for (int l = 0; l < N_LANES; l++)
                in[f * N_LANES + l] = out[f * N_OUT_LANES + l] = (float)(i * N_FRAMES + f) * 0x1p-23f;
        if (i % 97 == 0) eh_record_ring_gap(&ring, 1, EH_RECORD_GAP_XRUN);
        eh_record_ring_put(&ring, in, N_LANES, out, N_OUT_LANES, FIRST_MIX_LANE, N_FRAMES);
    }
    eh_record_ring_close(&ring);
    atomic_store(&is_done, 1);
    return NULL;
}

static uint32_t number(const uint8_t *s) { return s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16; }

// Takes until n_takes found something; counts frames that are not the ones their number says.
static int take(int n_takes, uint64_t *n_taken) {
    static uint8_t inputs[3 * TAKE * N_LANES], mix[3 * TAKE * EH_RECORD_MIX_LANES];
    eh_record_reader reader;
    if (eh_record_reader_attach(&reader, memory, size_bytes) != EH_RECORD_RING_OK) return 1;
    eh_record_reader_arm(&reader);
    int n_wrong = 0;
    while (n_takes > 0) {
        const int is_last = atomic_load(&is_done);
        eh_record_mark mark;
        while (eh_record_reader_take_mark(&reader, &mark)) n_wrong += mark.n_lost_frames == 0;
        const size_t n = eh_record_reader_take_s24(&reader, inputs, mix, TAKE);
        const uint32_t first = (uint32_t)(reader.frame - n);
        for (uint32_t f = 0; f < n; f++) {
            for (int l = 0; l < N_LANES; l++) n_wrong += number(inputs + 3 * (f * N_LANES + l)) != first + f;
            for (int l = 0; l < 2; l++) n_wrong += number(mix + 3 * (f * 2 + l)) != first + f;
        }
        *n_taken += n;
        n_takes -= n > 0;
        if (is_last && !n) break;
    }
    return n_wrong + reader.is_broken;  // and gone, without a word
}

int main(void) {
    const eh_record_config config = {.sample_rate_hz = 48000, .n_input_lanes = N_LANES, .n_ring_frames = RING_FRAMES};
    size_bytes = eh_record_ring_size_bytes(&config);
    memory = aligned_alloc(64, size_bytes);
    if (!memory || eh_record_ring_init(&ring, &config, memory) != EH_OK) return 2;
    pthread_t thread;
    pthread_create(&thread, NULL, put, NULL);
    uint64_t n_taken = 0;
    int n_wrong = 0;
    while (!atomic_load(&is_done)) n_wrong += take(100, &n_taken);
    pthread_join(thread, NULL);
    printf("%d wrong, %s\n", n_wrong, n_taken ? "some taken" : "none taken");
    free(memory);
    return n_wrong != 0 || n_taken == 0;
}
