// Single-producer single-consumer ring of tap frames.
#include "taps.h"

#include <string.h>

enum { ALIGNMENT_BYTES = 64, MASK = EH_TAP_RING_FRAMES - 1 };

_Static_assert((EH_TAP_RING_FRAMES & MASK) == 0, "the ring's size is a power of two");

static size_t tap_size_bytes(int n_lanes) { return (size_t)EH_TAP_RING_FRAMES * (size_t)n_lanes * sizeof(float); }

size_t eh_taps_size_bytes(int n_lanes) { return 2 * tap_size_bytes(n_lanes) + ALIGNMENT_BYTES; }

void eh_taps_init(eh_taps *t, int n_lanes, void *memory) {
    memset(memory, 0, eh_taps_size_bytes(n_lanes));
    t->n_lanes = n_lanes;
    t->input = memory;
    t->strip = (float *)((char *)memory + tap_size_bytes(n_lanes));
    atomic_init(&t->n_written, 0);
    atomic_init(&t->n_read, 0);
    atomic_init(&t->n_dropped, 0);
}

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

int eh_taps_has_room(eh_taps *t, size_t n_frames) {
    const size_t written = atomic_load_explicit(&t->n_written, memory_order_relaxed);
    const size_t read = atomic_load_explicit(&t->n_read, memory_order_acquire);
    if (EH_TAP_RING_FRAMES - (written - read) >= n_frames) return 1;
    atomic_fetch_add_explicit(&t->n_dropped, n_frames, memory_order_relaxed);
    return 0;
}

static void put(const eh_taps *t, float *ring, const float *frames, size_t n_frames) {
    const size_t start = atomic_load_explicit(&t->n_written, memory_order_relaxed) & MASK;
    const size_t n_first = at_most(n_frames, EH_TAP_RING_FRAMES - start), n_lanes = (size_t)t->n_lanes;
    memcpy(ring + start * n_lanes, frames, n_first * n_lanes * sizeof(float));
    memcpy(ring, frames + n_first * n_lanes, (n_frames - n_first) * n_lanes * sizeof(float));
}

void eh_taps_put_input(eh_taps *t, const float *frames, size_t n_frames) { put(t, t->input, frames, n_frames); }

void eh_taps_put_strip(eh_taps *t, const float *frames, size_t n_frames) { put(t, t->strip, frames, n_frames); }

void eh_taps_commit(eh_taps *t, size_t n_frames) {
    const size_t written = atomic_load_explicit(&t->n_written, memory_order_relaxed);
    atomic_store_explicit(&t->n_written, written + n_frames, memory_order_release);
}

size_t eh_taps_peek(const eh_taps *t, const float **input, const float **strip) {
    const size_t read = atomic_load_explicit(&t->n_read, memory_order_relaxed);
    const size_t written = atomic_load_explicit(&t->n_written, memory_order_acquire);
    const size_t start = read & MASK;
    *input = t->input + start * (size_t)t->n_lanes;
    *strip = t->strip + start * (size_t)t->n_lanes;
    return at_most(written - read, EH_TAP_RING_FRAMES - start);
}

void eh_taps_consume(eh_taps *t, size_t n_frames) {
    const size_t read = atomic_load_explicit(&t->n_read, memory_order_relaxed);
    atomic_store_explicit(&t->n_read, read + n_frames, memory_order_release);
}
