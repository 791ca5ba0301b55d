// Single-producer single-consumer ring of tap frames.
#include "tap_ring.h"

#include <string.h>

enum { ALIGNMENT_BYTES = 64, MASK = EH_TAP_RING_FRAMES - 1 };

_Static_assert((EH_TAP_RING_FRAMES & MASK) == 0, "the ring's size is a power of two");

static size_t tap_size_bytes(int n_lanes) { return (size_t)EH_TAP_RING_FRAMES * (size_t)n_lanes * sizeof(float); }

size_t eh_tap_ring_size_bytes(int n_lanes) { return 2 * tap_size_bytes(n_lanes) + ALIGNMENT_BYTES; }

void eh_tap_ring_init(eh_tap_ring *t, int n_lanes, void *memory) {
    memset(memory, 0, eh_tap_ring_size_bytes(n_lanes));
    t->n_lanes = n_lanes;
    t->input = memory;
    t->strip = (float *)((char *)memory + tap_size_bytes(n_lanes));
    t->first = 0;
    atomic_init(&t->n_written, 0);
    atomic_init(&t->n_read, 0);
    atomic_init(&t->n_dropped, 0);
}

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

int eh_tap_ring_has_room(eh_tap_ring *t, size_t n_frames) {
    const size_t written = atomic_load_explicit(&t->n_written, memory_order_relaxed);
    const size_t read = atomic_load_explicit(&t->n_read, memory_order_acquire);
    if (read == written) t->first = written;  // the reader looks at this only behind frames that follow
    if (EH_TAP_RING_FRAMES - (written - read) >= n_frames) return 1;
    atomic_fetch_add_explicit(&t->n_dropped, n_frames, memory_order_relaxed);
    return 0;
}

static void put(const eh_tap_ring *t, float *ring, const float *frames, size_t n_frames) {
    const size_t start = (atomic_load_explicit(&t->n_written, memory_order_relaxed) - t->first) & MASK;
    const size_t n_first = at_most(n_frames, EH_TAP_RING_FRAMES - start), n_lanes = (size_t)t->n_lanes;
    memcpy(ring + start * n_lanes, frames, n_first * n_lanes * sizeof(float));
    memcpy(ring, frames + n_first * n_lanes, (n_frames - n_first) * n_lanes * sizeof(float));
}

void eh_tap_ring_put_input(eh_tap_ring *t, const float *frames, size_t n_frames) { put(t, t->input, frames, n_frames); }

void eh_tap_ring_put_strip(eh_tap_ring *t, const float *frames, size_t n_frames) { put(t, t->strip, frames, n_frames); }

void eh_tap_ring_commit(eh_tap_ring *t, size_t n_frames) {
    const size_t written = atomic_load_explicit(&t->n_written, memory_order_relaxed);
    atomic_store_explicit(&t->n_written, written + n_frames, memory_order_release);
}

size_t eh_tap_ring_peek(const eh_tap_ring *t, const float **input, const float **strip) {
    const size_t read = atomic_load_explicit(&t->n_read, memory_order_relaxed);
    const size_t written = atomic_load_explicit(&t->n_written, memory_order_acquire);
    if (written == read) return 0;
    const size_t start = (read - t->first) & MASK;
    *input = t->input + start * (size_t)t->n_lanes;
    *strip = t->strip + start * (size_t)t->n_lanes;
    return at_most(written - read, EH_TAP_RING_FRAMES - start);
}

void eh_tap_ring_consume(eh_tap_ring *t, size_t n_frames) {
    const size_t read = atomic_load_explicit(&t->n_read, memory_order_relaxed);
    atomic_store_explicit(&t->n_read, read + n_frames, memory_order_release);
}
