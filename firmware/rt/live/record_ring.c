// The audio thread's end of the recorder's ring.
#include "record_ring.h"

#include <string.h>

#include "record_shared.h"

// A ring that ran full takes frames again when a quarter of it is free: one longer gap instead of a hundred short ones.
enum { FREE_QUARTER = 4 };

static uint64_t ring_frames(const eh_record_config *config) {
    return config->n_ring_frames ? config->n_ring_frames : (uint64_t)config->sample_rate_hz * EH_RECORD_RING_S;
}

static eh_status config_status(const eh_record_config *config) {
    if (config->sample_rate_hz < EH_RECORD_MIN_SAMPLE_RATE_HZ || config->sample_rate_hz > EH_RECORD_MAX_SAMPLE_RATE_HZ)
        return EH_ERR_SAMPLE_RATE;
    if (config->n_input_lanes < 1 || config->n_input_lanes > EH_RECORD_MAX_INPUT_LANES) return EH_ERR_LANES;
    if (ring_frames(config) < EH_RECORD_MIN_RING_FRAMES || ring_frames(config) > EH_RECORD_MAX_RING_FRAMES)
        return EH_ERR_ARGUMENT;
    return EH_OK;
}

size_t eh_record_ring_size_bytes(const eh_record_config *config) {
    if (config_status(config) != EH_OK) return 0;
    return eh_record_total_size_bytes(ring_frames(config), config->n_input_lanes);
}

eh_status eh_record_ring_init(eh_record_ring *r, const eh_record_config *config, void *memory) {
    const eh_status status = config_status(config);
    if (status != EH_OK) return status;
    const char *contract_id = eh_contract_id();
    memset(memory, 0, eh_record_ring_size_bytes(config));
    memset(r, 0, sizeof *r);
    eh_record_shared *s = memory;
    s->layout = EH_RECORD_LAYOUT;
    s->size_of_this = sizeof *s;
    for (size_t i = 0; i + 1 < sizeof s->contract_id && contract_id[i]; i++) s->contract_id[i] = contract_id[i];
    s->sample_rate_hz = config->sample_rate_hz;
    s->n_input_lanes = config->n_input_lanes;
    s->n_mix_lanes = EH_RECORD_MIX_LANES;
    s->n_ring_frames = (uint32_t)ring_frames(config);
    s->generation = config->generation;
    r->shared = s;
    r->n_input_lanes = config->n_input_lanes;
    r->n_ring_frames = ring_frames(config);
    r->frame = config->first_frame;
    r->inputs = (float *)(s + 1);
    r->mix = (float *)((char *)r->inputs + eh_record_lanes_size_bytes(r->n_ring_frames, r->n_input_lanes));
    atomic_store_explicit(&s->magic, EH_RECORD_MAGIC, memory_order_release);
    return EH_OK;
}

// Whether somebody records. A recorder that is new gets told where it begins, and nothing of what was before.
static int answer(eh_record_ring *r) {
    eh_record_shared *s = r->shared;
    const uint64_t arm = atomic_load_explicit(&s->arm, EH_RECORD_ACQUIRE);
    if (arm != r->arm) {
        r->arm = arm;
        r->is_full = 0;
        memset(&r->pending, 0, sizeof r->pending);
        atomic_store_explicit(&s->n_written, r->n_written, memory_order_relaxed);
        atomic_store_explicit(&s->n_marks, r->n_marks, memory_order_relaxed);
        atomic_store_explicit(&s->first_at, r->n_written, memory_order_relaxed);
        atomic_store_explicit(&s->first_mark, r->n_marks, memory_order_relaxed);
        atomic_store_explicit(&s->first_frame, r->frame, memory_order_relaxed);
        atomic_store_explicit(&s->answered_arm, arm, EH_RECORD_RELEASE);
    }
    return arm & 1;
}

int eh_record_ring_is_armed(const eh_record_ring *r) {
    return atomic_load_explicit(&r->shared->arm, memory_order_relaxed) & 1;
}

static int has_room(eh_record_ring *r, size_t n_frames) {
    // A count that is not the recorder's own nonsense lies at most n_ring_frames back; anything else reads as full.
    const uint64_t n_used = r->n_written - atomic_load_explicit(&r->shared->n_read, EH_RECORD_ACQUIRE);
    const uint64_t n_free = n_used <= r->n_ring_frames ? r->n_ring_frames - n_used : 0;
    if (n_free < n_frames) return 0;
    return !r->is_full || n_free >= r->n_ring_frames / FREE_QUARTER;
}

static void lose(eh_record_ring *r, uint64_t n_frames, uint32_t cause) {
    if (!r->pending.n_events) r->pending.cause = cause;
    r->pending.n_events++;
    r->pending.n_lost_frames += n_frames;
}

// Puts the pending mark into the ring; 0 when there is no room for it.
static int post_pending(eh_record_ring *r) {
    eh_record_shared *s = r->shared;
    if (!r->pending.n_events) return 1;
    const uint64_t n_used = r->n_marks - atomic_load_explicit(&s->n_marks_read, EH_RECORD_ACQUIRE);
    if (n_used >= EH_RECORD_MAX_MARKS) return 0;
    r->pending.at = r->n_written;
    r->pending.frame = r->frame;
    s->mark[r->n_marks % EH_RECORD_MAX_MARKS] = r->pending;
    atomic_store_explicit(&s->n_marks, ++r->n_marks, EH_RECORD_RELEASE);
    memset(&r->pending, 0, sizeof r->pending);
    return 1;
}

// Copies lanes first .. first + n_to of each frame; what the source lacks is silent.
static void copy_lanes(float *to, size_t n_to, const float *from, size_t n_from, size_t first, size_t n_frames) {
    const size_t n_there = !from || first >= n_from ? 0 : n_from - first < n_to ? n_from - first : n_to;
    if (n_there == n_from && n_there == n_to) {
        memcpy(to, from, n_frames * n_to * sizeof *to);
        return;
    }
    for (size_t i = 0; i < n_frames; i++, to += n_to) {
        for (size_t l = 0; l < n_there; l++) to[l] = from[i * n_from + first + l];
        for (size_t l = n_there; l < n_to; l++) to[l] = 0.0f;
    }
}

static const float *behind(const float *frames, size_t n_lanes, size_t n_frames) {
    return frames ? frames + n_frames * n_lanes : NULL;
}

static void store(eh_record_ring *r, size_t start, const float *in, size_t n_in_lanes, const float *out,
                  size_t n_out_lanes, size_t first_mix_lane, size_t n_frames) {
    copy_lanes(r->inputs + start * r->n_input_lanes, r->n_input_lanes, in, n_in_lanes, 0, n_frames);
    copy_lanes(r->mix + start * EH_RECORD_MIX_LANES, EH_RECORD_MIX_LANES, out, n_out_lanes, first_mix_lane, n_frames);
}

void eh_record_ring_put(eh_record_ring *r, const float *in, size_t n_in_lanes, const float *out, size_t n_out_lanes,
                        size_t first_mix_lane, size_t n_frames) {
    const int is_recording = answer(r);
    if (!is_recording || !has_room(r, n_frames) || !post_pending(r)) {
        r->frame += n_frames;
        if (!is_recording) return;
        r->is_full = 1;
        lose(r, n_frames, EH_RECORD_GAP_RING_FULL);
        return;
    }
    r->is_full = 0;
    const size_t start = r->n_written % r->n_ring_frames, n_to_end = r->n_ring_frames - start;
    const size_t n_first = n_frames < n_to_end ? n_frames : n_to_end;
    store(r, start, in, n_in_lanes, out, n_out_lanes, first_mix_lane, n_first);
    store(r, 0, behind(in, n_in_lanes, n_first), n_in_lanes, behind(out, n_out_lanes, n_first), n_out_lanes,
          first_mix_lane, n_frames - n_first);
    r->frame += n_frames;
    r->n_written += n_frames;
    atomic_store_explicit(&r->shared->n_written, r->n_written, EH_RECORD_RELEASE);
}

void eh_record_ring_gap(eh_record_ring *r, uint64_t n_lost_frames, uint32_t cause) {
    if (!answer(r)) return;
    lose(r, n_lost_frames, cause);
    if (!r->is_full) post_pending(r);
}

void eh_record_ring_close(eh_record_ring *r) {
    if (answer(r)) post_pending(r);
}
