// One writer and one reader of the tap ring by turns, the reader lagging more or less: it reads every frame that was
// committed, in order, each with both its taps, and what lies in memory is as little as the reader lags.
#include "tap_ring.h"

#include <stdio.h>
#include <stdlib.h>

enum { N_LANES = 4, MAX_BLOCK = 300, N_TURNS = 20000 };

static uint32_t seed = 1;
static size_t below(size_t n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static void fill(float *frames, size_t first, size_t n, float sign) {
    for (size_t i = 0; i < n * N_LANES; i++) frames[i] = sign * (float)((first + i / N_LANES) % 100000 + 1);
}

int main(void) {
    static float input[MAX_BLOCK * N_LANES], strip[MAX_BLOCK * N_LANES];
    eh_tap_ring ring;
    eh_tap_ring_init(&ring, N_LANES, aligned_alloc(64, eh_tap_ring_size_bytes(N_LANES)));
    size_t n_written = 0, n_read = 0, n_dropped = 0, n_wrong = 0, n_elsewhere = 0;
    for (int turn = 0; turn < N_TURNS; turn++) {
        const size_t n = 1 + below(MAX_BLOCK);
        const int was_empty = n_read == n_written;
        if (eh_tap_ring_has_room(&ring, n)) {
            fill(input, n_written, n, 1.0f);
            fill(strip, n_written, n, -1.0f);
            eh_tap_ring_put_input(&ring, input, n);
            eh_tap_ring_put_strip(&ring, strip, n);
            eh_tap_ring_commit(&ring, n);
            n_written += n;
        } else {
            n_dropped += n;
            n_wrong += EH_TAP_RING_FRAMES - (n_written - n_read) >= n;
        }
        const float *a, *b;
        if (was_empty && eh_tap_ring_peek(&ring, &a, &b) > 0) n_elsewhere += a != ring.input || b != ring.strip;
        if (turn / 1000 % 2 == 1 && below(40) > 0) continue;  // a reader with little time
        for (size_t ready; (ready = eh_tap_ring_peek(&ring, &a, &b)) > 0;) {
            const size_t used = below(4) > 0 ? ready : 1 + below(ready);
            for (size_t i = 0; i < used * N_LANES; i++) {
                const float expected = (float)((n_read + i / N_LANES) % 100000 + 1);
                n_wrong += a[i] != expected || b[i] != -expected;
            }
            eh_tap_ring_consume(&ring, used);
            n_read += used;
            if (used < ready) break;
        }
    }
    n_wrong += n_dropped != atomic_load(&ring.n_dropped) || n_dropped == 0;
    printf("%zu wrong, %zu elsewhere\n", n_wrong, n_elsewhere);
    return n_wrong + n_elsewhere > 0;
}
