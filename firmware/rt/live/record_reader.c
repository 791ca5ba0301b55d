// The recorder's end of its ring.
#include <string.h>

#include "record_shared.h"

static int is_same_contract(const char *theirs, const char *ours) {
    for (size_t i = 0; i < EH_RECORD_CONTRACT_BYTES; i++) {
        if (theirs[i] != ours[i]) return 0;
        if (!ours[i]) return 1;
    }
    return 0;
}

eh_record_verdict eh_record_reader_attach(eh_record_reader *r, void *memory, size_t size_bytes) {
    memset(r, 0, sizeof *r);
    eh_record_shared *s = memory;
    if (size_bytes < sizeof *s) return EH_RECORD_RING_TOO_SMALL;
    if (atomic_load_explicit(&s->magic, memory_order_acquire) != EH_RECORD_MAGIC) return EH_RECORD_RING_UNKNOWN;
    if (s->layout != EH_RECORD_LAYOUT || s->size_of_this != sizeof *s) return EH_RECORD_RING_OTHER_LAYOUT;
    if (!is_same_contract(s->contract_id, eh_contract_id())) return EH_RECORD_RING_OTHER_CONTRACT;
    // Copied, then judged: what changes in the shared memory afterwards changes nothing here.
    r->n_ring_frames = s->n_ring_frames;
    r->n_input_lanes = s->n_input_lanes;
    r->sample_rate_hz = s->sample_rate_hz;
    r->generation = s->generation;
    if (r->n_ring_frames < EH_RECORD_MIN_RING_FRAMES || r->n_ring_frames > EH_RECORD_MAX_RING_FRAMES ||
        r->n_input_lanes < 1 || r->n_input_lanes > EH_RECORD_MAX_INPUT_LANES ||
        r->sample_rate_hz < EH_RECORD_MIN_SAMPLE_RATE_HZ || r->sample_rate_hz > EH_RECORD_MAX_SAMPLE_RATE_HZ ||
        s->n_mix_lanes != EH_RECORD_MIX_LANES)
        return EH_RECORD_RING_BAD_MEASURES;
    if (size_bytes < eh_record_total_size_bytes(r->n_ring_frames, r->n_input_lanes)) return EH_RECORD_RING_TOO_SMALL;
    r->shared = s;
    r->inputs = (const float *)(s + 1);
    r->mix = (const float *)((const char *)r->inputs + eh_record_lanes_size_bytes(r->n_ring_frames, r->n_input_lanes));
    return EH_RECORD_RING_OK;
}

eh_record_verdict eh_record_ring_check(void *memory, size_t size_bytes) {
    eh_record_reader scratch;
    return eh_record_reader_attach(&scratch, memory, size_bytes);
}

static void empty(eh_record_reader *r, uint64_t at, uint64_t mark) {
    r->n_read = at;
    r->n_marks_read = mark;
    atomic_store_explicit(&r->shared->n_marks_read, mark, EH_RECORD_RELEASE);
    atomic_store_explicit(&r->shared->n_read, at, EH_RECORD_RELEASE);
}

void eh_record_reader_arm(eh_record_reader *r) {
    eh_record_shared *s = r->shared;
    r->is_started = 0;
    // Room first: what a dead predecessor left must not push out the first frames.
    empty(r, atomic_load_explicit(&s->n_written, EH_RECORD_ACQUIRE),
          atomic_load_explicit(&s->n_marks, EH_RECORD_ACQUIRE));
    r->arm = (atomic_load_explicit(&s->arm, memory_order_relaxed) / 2 + 1) * 2 + 1;
    atomic_store_explicit(&s->arm, r->arm, EH_RECORD_RELEASE);
}

void eh_record_reader_disarm(eh_record_reader *r) {
    atomic_store_explicit(&r->shared->arm, r->arm + 1, EH_RECORD_RELEASE);
    r->is_started = 0;
}

static int is_started(eh_record_reader *r) {
    eh_record_shared *s = r->shared;
    if (r->is_started) return 1;
    if (atomic_load_explicit(&s->answered_arm, EH_RECORD_ACQUIRE) != r->arm) return 0;
    r->frame = atomic_load_explicit(&s->first_frame, memory_order_relaxed);
    empty(r, atomic_load_explicit(&s->first_at, memory_order_relaxed),
          atomic_load_explicit(&s->first_mark, memory_order_relaxed));
    r->is_started = 1;
    return 1;
}

// The frames that lie ready, and the next mark if there is one. Frames are looked at first: every mark that lies among
// them was written before they were.
static uint64_t ready(eh_record_reader *r, eh_record_mark *mark, int *has_mark) {
    eh_record_shared *s = r->shared;
    *has_mark = 0;
    if (r->is_broken || !is_started(r)) return 0;
    uint64_t n_ready = atomic_load_explicit(&s->n_written, EH_RECORD_ACQUIRE) - r->n_read;
    const uint64_t n_marks = atomic_load_explicit(&s->n_marks, EH_RECORD_ACQUIRE) - r->n_marks_read;
    if (n_ready > r->n_ring_frames || n_marks > EH_RECORD_MAX_MARKS || s->generation != r->generation) {
        r->is_broken = 1;
        return 0;
    }
    if (!n_marks) return n_ready;
    *has_mark = 1;
    *mark = s->mark[r->n_marks_read % EH_RECORD_MAX_MARKS];
    const uint64_t n_before = mark->at <= r->n_read ? 0 : mark->at - r->n_read;
    return n_ready < n_before ? n_ready : n_before;
}

int eh_record_reader_take_mark(eh_record_reader *r, eh_record_mark *mark) {
    int has_mark;
    ready(r, mark, &has_mark);
    if (!has_mark || mark->at > r->n_read) return 0;
    r->frame = mark->frame;
    atomic_store_explicit(&r->shared->n_marks_read, ++r->n_marks_read, EH_RECORD_RELEASE);
    return 1;
}

size_t eh_record_reader_take_s24(eh_record_reader *r, uint8_t *inputs, uint8_t *mix, size_t max_frames) {
    eh_record_mark mark;
    int has_mark;
    const uint64_t n_ready = ready(r, &mark, &has_mark);
    const size_t n_frames = n_ready < max_frames ? (size_t)n_ready : max_frames;
    for (size_t n_done = 0; n_done < n_frames;) {  // twice at most: the ring has one seam
        const size_t start = r->n_read % r->n_ring_frames, n_to_end = r->n_ring_frames - start;
        const size_t n = n_frames - n_done < n_to_end ? n_frames - n_done : n_to_end;
        eh_record_pack_s24(r->inputs + start * r->n_input_lanes, inputs + 3 * n_done * r->n_input_lanes,
                           n * r->n_input_lanes);
        eh_record_pack_s24(r->mix + start * EH_RECORD_MIX_LANES, mix + 3 * n_done * EH_RECORD_MIX_LANES,
                           n * EH_RECORD_MIX_LANES);
        r->n_read += n;
        n_done += n;
    }
    r->frame += n_frames;
    atomic_store_explicit(&r->shared->n_read, r->n_read, EH_RECORD_RELEASE);
    return n_frames;
}

// libsndfile scales floats to 32 bits, rounds and keeps the upper 24: the recorded mix is the rendered one to the bit.
static inline int32_t to_s32(float x) {
    const float scaled = x == x ? x * 0x1p31f : 0.0f;
    const float capped = scaled < 0x1.fffffep30f ? scaled : 0x1.fffffep30f;  // the largest float under 2^31
    return (int32_t)__builtin_rintf(capped > -0x1p31f ? capped : -0x1p31f);
}

void eh_record_pack_s24(const float *in, uint8_t *out, size_t n) {
    enum { PIECE = 64 };
    for (size_t at = 0; at < n; at += PIECE) {  // first all numbers, then all bytes: the former is left to vectors
        int32_t number[PIECE];
        const size_t n_here = n - at < PIECE ? n - at : PIECE;
        for (size_t i = 0; i < n_here; i++) number[i] = to_s32(in[at + i]);
        for (size_t i = 0; i < n_here; i++, out += 3) {
            out[0] = (uint8_t)((uint32_t)number[i] >> 8);
            out[1] = (uint8_t)((uint32_t)number[i] >> 16);
            out[2] = (uint8_t)((uint32_t)number[i] >> 24);
        }
    }
}
