// What each side does with the segment: rings, snapshots, heartbeats, notebooks.
#define _GNU_SOURCE  // futex
#include "segment_layout.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint64_t eh_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// --------------------------------------------------------------------------------------------------------- rings

// Release: who sees the count sees what it counts. Acquire: who sees room may overwrite it.
#ifdef TORN_SEGMENT  // only for the test that shows the thread sanitizer sees a wrong order
#define RING_ACQUIRE memory_order_relaxed
#define RING_RELEASE memory_order_relaxed
#else
#define RING_ACQUIRE memory_order_acquire
#define RING_RELEASE memory_order_release
#endif

// Ends come from shared memory: more in the ring than it holds means that somebody wrote nonsense there, and reads as
// full on one side and as empty on the other; the reader then begins anew where the writer is.
static int has_room(eh_ring_ends *ends, uint64_t capacity, uint64_t *at) {
    *at = atomic_load_explicit(&ends->n_written, memory_order_relaxed);
    return *at - atomic_load_explicit(&ends->n_read, RING_ACQUIRE) < capacity;
}

static int has_one(eh_ring_ends *ends, uint64_t capacity, uint64_t *at) {
    *at = atomic_load_explicit(&ends->n_read, memory_order_relaxed);
    const uint64_t n_written = atomic_load_explicit(&ends->n_written, RING_ACQUIRE), n = n_written - *at;
    if (n > capacity) atomic_store_explicit(&ends->n_read, n_written, RING_RELEASE);
    return n > 0 && n <= capacity;
}

int eh_segment_put_observation(eh_segment *s, const eh_observation *observation) {
    const uint64_t n_latest = atomic_load_explicit(&s->n_latest, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);  // who sees the next line's bytes sees the counts before it
    s->latest[n_latest % EH_N_LATEST] = *observation;
    atomic_store_explicit(&s->n_latest, n_latest + 1, memory_order_release);
    uint64_t at;
    const int is_taken = has_room(&s->observations, EH_N_OBSERVATIONS, &at);
    if (is_taken) {
        s->observation[at % EH_N_OBSERVATIONS] = *observation;
        atomic_store_explicit(&s->observations.n_written, at + 1, RING_RELEASE);
    } else {
        eh_segment_count(s, EH_COUNT_OBSERVATIONS_DROPPED, 1);
    }
    atomic_fetch_add_explicit(&s->news, 1, memory_order_release);
    syscall(SYS_futex, &s->news, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    return is_taken;
}

int eh_segment_take_observation(eh_segment_hold *hold, eh_observation *observation) {
    eh_segment *s = hold->segment;
    uint64_t at;
    if (!has_one(&s->observations, EH_N_OBSERVATIONS, &at)) return 0;
    *observation = s->observation[at % EH_N_OBSERVATIONS];
    atomic_store_explicit(&s->observations.n_read, at + 1, RING_RELEASE);
    return 1;
}

void eh_segment_skip_observations(eh_segment_hold *hold) {
    eh_segment *s = hold->segment;
    atomic_store(&s->observations.n_read, atomic_load(&s->observations.n_written));
}

void eh_segment_tell(eh_segment *s, const eh_event *event) {
    uint64_t at;
    if (!has_room(&s->events, EH_N_EVENTS, &at)) {
        eh_segment_count(s, EH_COUNT_EVENTS_DROPPED, 1);
        return;
    }
    s->event[at % EH_N_EVENTS] = *event;
    atomic_store_explicit(&s->events.n_written, at + 1, RING_RELEASE);
}

int eh_segment_take_event(eh_segment_hold *hold, eh_event *event) {
    eh_segment *s = hold->segment;
    uint64_t at;
    if (!has_one(&s->events, EH_N_EVENTS, &at)) return 0;
    *event = s->event[at % EH_N_EVENTS];
    atomic_store_explicit(&s->events.n_read, at + 1, RING_RELEASE);
    return 1;
}

// ------------------------------------------------------------------------------------------------------- control

void eh_segment_publish(eh_segment_hold *hold, const eh_params *params) {
    atomic_thread_fence(memory_order_release);  // who sees bytes of this one sees that the last was published
    eh_mailbox_write(&hold->segment->params, params);
    atomic_fetch_add_explicit(&hold->segment->n_published, 1, memory_order_release);
}

void eh_segment_set_mix_gain_bark(eh_segment_hold *hold, const float *gain_lin) {
    eh_segment *s = hold->segment;
    const unsigned slot = eh_triple_write_slot(&s->mix_gain_owner);
    memcpy(s->mix_gain_lin[slot], gain_lin, sizeof s->mix_gain_lin[slot]);
    eh_triple_publish(&s->mix_gain_owner);
}

// A bare futex, not a semaphore: whatever stands in the file, the C library has nothing to abort about.
int eh_segment_wait(eh_segment_hold *hold, int timeout_ms) {
    eh_segment *s = hold->segment;
    const unsigned heard = atomic_load_explicit(&s->news, memory_order_acquire);
    uint64_t at;
    if (has_one(&s->observations, EH_N_OBSERVATIONS, &at)) return 1;
    const struct timespec timeout = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    if (timeout_ms > 0) syscall(SYS_futex, &s->news, FUTEX_WAIT, heard, &timeout, NULL, 0);
    return has_one(&s->observations, EH_N_OBSERVATIONS, &at);
}

void eh_segment_beat(eh_segment_hold *hold, uint64_t frame) {
    atomic_store_explicit(&hold->segment->control_frame, frame, memory_order_release);
    atomic_store_explicit(&hold->segment->control_beat_ns, eh_clock_ns(), memory_order_release);
}

void eh_segment_probe(eh_segment_hold *hold, int lane) {
    const int is_lane = lane >= 0 && lane < hold->mixer.n_capture_lanes;
    if (is_lane) atomic_store(&hold->segment->n_probes, 0);
    atomic_store(&hold->segment->probe_lane, is_lane ? lane + 1 : 0);
}

int eh_segment_probe_ways(const eh_segment_hold *hold, int *way_frames) {
    const eh_segment *s = hold->segment;
    const unsigned n = atomic_load_explicit(&s->n_probes, memory_order_acquire);
    const unsigned n_kept = n < EH_N_PROBES ? n : EH_N_PROBES;
    for (unsigned i = 0; i < n_kept; i++)
        way_frames[i] = atomic_load(&s->probe_way_frames[(n - n_kept + i) % EH_N_PROBES]);
    return (int)n_kept;
}

static uint32_t checksum(const void *memory, size_t n_bytes) {  // FNV-1a
    const unsigned char *bytes = memory;
    uint32_t sum = 0x811c9dc5u;
    for (size_t i = 0; i < n_bytes; i++) sum = (sum ^ bytes[i]) * 0x01000193u;
    return sum;
}

int eh_segment_write_notebook(eh_segment_hold *hold, int notebook, const void *bytes, size_t n_bytes) {
    if (notebook < 0 || notebook >= EH_N_NOTEBOOKS || n_bytes > EH_NOTEBOOK_BYTES) return 0;
    eh_notebook *book = &hold->segment->notebook[notebook];
    const unsigned page = (atomic_load(&book->newest) & 1) ^ 1;
    book->page[page].n_bytes = (uint32_t)n_bytes;
    book->page[page].checksum = checksum(bytes, n_bytes);
    memcpy(book->page[page].bytes, bytes, n_bytes);
    atomic_store_explicit(&book->newest, page | 2, memory_order_release);
    return 1;
}

size_t eh_segment_read_notebook(const eh_segment_hold *hold, int notebook, void *bytes, size_t n_bytes) {
    if (notebook < 0 || notebook >= EH_N_NOTEBOOKS) return 0;
    const eh_notebook *book = &hold->segment->notebook[notebook];
    const unsigned newest = atomic_load_explicit(&book->newest, memory_order_acquire);
    const size_t n = book->page[newest & 1].n_bytes;
    if (!(newest & 2) || n > EH_NOTEBOOK_BYTES || n > n_bytes) return 0;
    memcpy(bytes, book->page[newest & 1].bytes, n);
    return checksum(bytes, n) == book->page[newest & 1].checksum ? n : 0;
}

// ----------------------------------------------------------------------------------------------------- everybody

// The writer is four observations away from overwriting what was just copied, or the copy is made again.
int eh_segment_latest(const eh_segment_hold *hold, eh_observation *observation) {
    const eh_segment *s = hold->segment;
    for (int attempt = 0; attempt < 8; attempt++) {
        const uint64_t n = atomic_load_explicit(&s->n_latest, memory_order_acquire);
        if (n == 0) return 0;
        *observation = s->latest[(n - 1) % EH_N_LATEST];
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&s->n_latest, memory_order_relaxed) - n < EH_N_LATEST - 1) return 1;
    }
    return 0;
}

// The writer never touches the slot in the middle or the reader's; which is which may change while it is copied, so
// the number of snapshots is compared afterwards.
int eh_segment_params(const eh_segment_hold *hold, eh_params *params) {
    const eh_segment *s = hold->segment;
    if (atomic_load_explicit(&s->n_published, memory_order_acquire) == 0) return 0;
    for (int attempt = 0; attempt < 8; attempt++) {
        const uint64_t n = atomic_load_explicit(&s->n_published, memory_order_acquire);
        *params = s->params.slot[eh_triple_newest_slot(&s->params.triple)];
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&s->n_published, memory_order_relaxed) == n) return 1;
    }
    return 0;
}

static void copy_trouble(const eh_trouble *trouble, char *text) {
    for (int attempt = 0; attempt < 8; attempt++) {
        const unsigned version = atomic_load_explicit(&trouble->version, memory_order_acquire);
        memcpy(text, trouble->text, EH_WHY_BYTES);
        atomic_thread_fence(memory_order_acquire);
        if (!(version & 1) && atomic_load_explicit(&trouble->version, memory_order_relaxed) == version) break;
    }
    text[EH_WHY_BYTES - 1] = '\0';
}

void eh_segment_status(const eh_segment_hold *hold, eh_live_status *status) {
    const eh_segment *s = hold->segment;
    memset(status, 0, sizeof *status);
    for (int i = 0; i < EH_N_COUNTERS; i++) status->counter[i] = atomic_load(&s->counter[i]);
    status->engine_beat_ns = atomic_load(&s->engine_beat_ns);
    status->control_beat_ns = atomic_load(&s->control_beat_ns);
    status->control_frame = atomic_load(&s->control_frame);
    status->last_frame = atomic_load(&s->last_frame);
    for (int i = 0; i < EH_N_WAKE_BUCKETS; i++) {
        status->wake_us[i] = atomic_load_explicit(&s->wake_us[i], memory_order_relaxed);
        status->service_us[i] = atomic_load_explicit(&s->service_us[i], memory_order_relaxed);
    }
    status->engine_pid = atomic_load(&s->engine_pid);
    status->control_pid = atomic_load(&s->control_pid);
    status->state = atomic_load(&s->state);
    status->is_realtime = atomic_load(&s->is_realtime);
    status->is_locked = atomic_load(&s->is_locked);
    status->round_trip_frames = atomic_load(&s->round_trip_frames);
    status->secondary_state = atomic_load(&s->secondary_state);
    status->secondary_ppm_x1000 = atomic_load(&s->secondary_ppm_x1000);
    copy_trouble(&s->trouble, status->trouble);
    copy_trouble(&s->secondary_trouble, status->secondary_trouble);
}

// -------------------------------------------------------------------------------------------------------- engine

void eh_segment_count(eh_segment *s, eh_counter counter, uint64_t n) {
    atomic_fetch_add_explicit(&s->counter[counter], n, memory_order_relaxed);
}

void eh_trouble_set(eh_trouble *trouble, const char *text) {
    // Odd while it is written; a predecessor may have been killed in between.
    const unsigned version = atomic_load_explicit(&trouble->version, memory_order_relaxed) | 1;
    atomic_store_explicit(&trouble->version, version, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    strncpy(trouble->text, text, sizeof trouble->text - 1);
    atomic_store_explicit(&trouble->version, version + 1, memory_order_release);
}

void eh_segment_count_us(atomic_uint_least32_t *histogram, uint64_t duration_ns) {
    const uint32_t us = duration_ns >= 1000 * (uint64_t)UINT32_MAX ? UINT32_MAX : (uint32_t)(duration_ns / 1000);
    uint32_t bucket = 0;
    if (us > 0) {
        const uint32_t octave = 31u - (uint32_t)__builtin_clz(us);
        const uint32_t quarter = octave >= 2 ? us >> (octave - 2) & 3 : us << (2 - octave) & 3;
        bucket = 4 * octave + quarter;
    }
    if (bucket >= EH_N_WAKE_BUCKETS) bucket = EH_N_WAKE_BUCKETS - 1;
    atomic_fetch_add_explicit(&histogram[bucket], 1, memory_order_relaxed);
}
