// What lies at the start of the recorder's shared memory. The lanes follow: inputs, then mix, one frame after another.
#pragma once

#include <stdatomic.h>

#include "record_ring.h"

enum {
    EH_RECORD_LAYOUT = 1,
    EH_RECORD_LINE_BYTES = 64,
    EH_RECORD_CONTRACT_BYTES = 32,
    EH_RECORD_MAX_MARKS = 256,
};

#define EH_RECORD_MAGIC UINT64_C(0x31474e5243455245)  // "ERECRNG1"

struct eh_record_shared {
    atomic_uint_fast64_t magic;  // written last
    uint32_t layout, size_of_this;
    char contract_id[EH_RECORD_CONTRACT_BYTES];
    uint32_t sample_rate_hz, n_input_lanes, n_mix_lanes, n_ring_frames;
    uint64_t generation;

    // Written by the audio thread.
    _Alignas(EH_RECORD_LINE_BYTES) atomic_uint_fast64_t n_written;  // frames
    atomic_uint_fast64_t n_marks;
    atomic_uint_fast64_t answered_arm;                       // the arm that the next three belong to
    atomic_uint_fast64_t first_at, first_mark, first_frame;  // where the recorder begins

    // Written by the recorder.
    _Alignas(EH_RECORD_LINE_BYTES) atomic_uint_fast64_t n_read;
    atomic_uint_fast64_t n_marks_read;
    atomic_uint_fast64_t arm;  // odd while somebody records; never the same twice

    _Alignas(EH_RECORD_LINE_BYTES) eh_record_mark mark[EH_RECORD_MAX_MARKS];
};

// Release: who sees the count sees what it counts. Acquire: who sees room may overwrite it.
#ifdef TORN_RECORD_RING  // only for the test that shows the thread sanitizer sees a wrong order
#define EH_RECORD_ACQUIRE memory_order_relaxed
#define EH_RECORD_RELEASE memory_order_relaxed
#else
#define EH_RECORD_ACQUIRE memory_order_acquire
#define EH_RECORD_RELEASE memory_order_release
#endif

_Static_assert(sizeof(atomic_uint_fast64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "counters need 64-bit atomics");

// Frames of a ring, rounded up so that the lanes behind it start on a cache line of their own.
static inline size_t eh_record_lanes_size_bytes(uint64_t n_ring_frames, uint64_t n_lanes) {
    const size_t size_bytes = (size_t)n_ring_frames * (size_t)n_lanes * sizeof(float);
    return (size_bytes + EH_RECORD_LINE_BYTES - 1) / EH_RECORD_LINE_BYTES * EH_RECORD_LINE_BYTES;
}

static inline size_t eh_record_total_size_bytes(uint64_t n_ring_frames, uint64_t n_input_lanes) {
    return sizeof(eh_record_shared) + eh_record_lanes_size_bytes(n_ring_frames, n_input_lanes) +
           eh_record_lanes_size_bytes(n_ring_frames, EH_RECORD_MIX_LANES);
}
