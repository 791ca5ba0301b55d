// The shared file: checked mapping, the clock, the log of plugging, and how sleepers are woken.
#include "card.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_ALIGNMENT = 4096, NS_PER_S = 1000000000 };

// One microhertz over one nanosecond.
#define UHZ_NS ((__int128)1000000 * NS_PER_S)

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "processes share these");
_Static_assert((EH_CARD_PLUG_SLOTS & (EH_CARD_PLUG_SLOTS - 1)) == 0, "masked, not checked");
_Static_assert((EH_CARD_FAULT_SLOTS & (EH_CARD_FAULT_SLOTS - 1)) == 0, "masked, not checked");

// --------------------------------------------------------------------------------------------------------- the file

static size_t header_bytes(void) {
    return (sizeof(eh_card_header) + HEADER_ALIGNMENT - 1) & ~(size_t)(HEADER_ALIGNMENT - 1);
}

static size_t ring_bytes(int n_channels, int64_t n_frames) {
    return (size_t)n_channels * (size_t)n_frames * sizeof(int32_t);
}

uint64_t eh_card_file_bytes(const int n_channels[EH_CARD_DIRECTIONS], int64_t ring_frames) {
    return header_bytes() + ring_bytes(n_channels[EH_CARD_CAPTURE], ring_frames) +
           ring_bytes(n_channels[EH_CARD_PLAYBACK], ring_frames) + (size_t)ring_frames * sizeof(uint64_t) +
           ring_bytes(n_channels[EH_CARD_PLAYBACK], ring_frames / 2);
}

void eh_card_lay_out(eh_card *c, void *mapping) {
    char *p = mapping;
    c->shared = mapping;
    c->stamps = (_Atomic uint64_t *)(p += header_bytes());
    p += (size_t)c->ring_frames * sizeof(uint64_t);
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) {
        c->ring[d] = (int32_t *)p;
        p += ring_bytes(c->n_channels[d], c->ring_frames);
    }
    c->staged = (int32_t *)p;
}

int eh_card_wake_path(char *out, const char *path, int direction) {
    const char *suffix = direction == EH_CARD_CAPTURE ? "capture" : "playback";
    const int n = snprintf(out, EH_CARD_MAX_PATH, "%s.%s", path, suffix);
    return n > 0 && n < EH_CARD_MAX_PATH ? 0 : -ENAMETOOLONG;
}

// What is wrong with this header, or NULL. Fills the geometry.
static const char *check(eh_card *c, const eh_card_header *h, uint64_t file_bytes) {
    if (h->magic != EH_CARD_MAGIC) return "this is no virtual card";
    if (h->version != EH_CARD_VERSION) return "it was made by another version";
    if (h->header_bytes != sizeof *h) return "its header has another size";
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) {
        c->n_channels[d] = h->n_channels[d];
        if (c->n_channels[d] < 0 || c->n_channels[d] > EH_CARD_MAX_CHANNELS)
            return "it has an impossible channel count";
    }
    c->ring_frames = h->ring_frames;
    if (c->ring_frames < EH_CARD_MIN_RING_FRAMES || c->ring_frames > EH_CARD_MAX_RING_FRAMES ||
        (c->ring_frames & (c->ring_frames - 1)))
        return "its rings have an impossible size";
    c->is_manual = h->is_manual != 0;
    c->has_cable = h->has_cable != 0;
    memcpy(c->cable, h->cable, sizeof c->cable);
    if (h->file_bytes != file_bytes || eh_card_file_bytes(c->n_channels, c->ring_frames) != file_bytes)
        return "its size does not fit its channels";
    return NULL;
}

static int refuse(char *reason, size_t reason_bytes, int error, const char *text) {
    snprintf(reason, reason_bytes, "%s", text);
    return -error;
}

static int open_wake_fifo(const char *path, int direction) {
    char name[EH_CARD_MAX_PATH];
    struct stat info;
    if (eh_card_wake_path(name, path, direction)) return -1;
    // Open for both ways: neither side ever sees the other one hang up.
    const int fd = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    if (fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode)) return fd;
    close(fd);
    return -1;
}

int eh_card_map(eh_card *c, const char *path, char *reason, size_t reason_bytes) {
    struct stat info;
    *c = (eh_card){.wake_fd = {-1, -1}};
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        const int error = errno;
        return refuse(reason, reason_bytes, error, strerror(error));
    }
    void *mapping = MAP_FAILED;
    const int is_card = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (size_t)info.st_size >= header_bytes();
    if (is_card) mapping = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapping == MAP_FAILED)
        return refuse(reason, reason_bytes, EINVAL, is_card ? "it cannot be mapped" : "this is no virtual card");
    c->file_bytes = (size_t)info.st_size;
    const char *wrong = check(c, mapping, c->file_bytes);
    eh_card_lay_out(c, mapping);
    for (int d = 0; !wrong && d < EH_CARD_DIRECTIONS; d++) {
        c->wake_fd[d] = open_wake_fifo(path, d);
        if (c->wake_fd[d] < 0) wrong = "the FIFO beside it is missing";
    }
    if (!wrong) return 0;
    eh_card_unmap(c);
    return refuse(reason, reason_bytes, EINVAL, wrong);
}

void eh_card_unmap(eh_card *c) {
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++)
        if (c->wake_fd[d] >= 0) close(c->wake_fd[d]);
    munmap(c->shared, c->file_bytes);
    *c = (eh_card){.wake_fd = {-1, -1}};
}

// -------------------------------------------------------------------------------------------------------- the clock

int64_t eh_card_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

typedef struct {
    int64_t anchor_frame, anchor_ns, rate_uhz, limit_frame;
} clock_line;

// The world writes the slot after the newest and then counts it: a reader only meets a slot in change when it slept
// through EH_CARD_CLOCK_SLOTS - 1 changes, and then it looks again.
static clock_line newest_line(const eh_card_header *h) {
    for (;;) {
        const uint64_t n = atomic_load(&h->n_clock_lines);
        const eh_card_clock_slot *s = &h->clock[(n - 1) % EH_CARD_CLOCK_SLOTS];
        const clock_line line = {atomic_load(&s->anchor_frame), atomic_load(&s->anchor_ns), atomic_load(&s->rate_uhz),
                                 atomic_load(&s->limit_frame)};
        if (atomic_load(&h->n_clock_lines) - n < EH_CARD_CLOCK_SLOTS - 1) return line;
    }
}

int64_t eh_card_frame_at(const eh_card *c, int64_t now_ns) {
    const int64_t epoch_ns = atomic_load(&c->shared->epoch_ns);
    const clock_line line = newest_line(c->shared);
    if (c->is_manual || !epoch_ns) return line.anchor_frame;
    const int64_t elapsed_ns = now_ns - epoch_ns - line.anchor_ns;
    const int64_t frame = line.anchor_frame + (int64_t)((__int128)elapsed_ns * line.rate_uhz / UHZ_NS);
    return frame < line.limit_frame ? frame : line.limit_frame;
}

int64_t eh_card_frame(const eh_card *c) { return eh_card_frame_at(c, c->is_manual ? 0 : eh_card_now_ns()); }

int64_t eh_card_time_of(const eh_card *c, int64_t frame) {
    const int64_t epoch_ns = atomic_load(&c->shared->epoch_ns);
    const clock_line line = newest_line(c->shared);
    if (c->is_manual || !epoch_ns || frame > line.limit_frame || line.rate_uhz <= 0) return EH_CARD_NEVER;
    // Rounded up, as frame_at rounds down: at this time the clock does show the frame.
    const __int128 elapsed_ns = ((__int128)(frame - line.anchor_frame) * UHZ_NS + line.rate_uhz - 1) / line.rate_uhz;
    return epoch_ns + line.anchor_ns + (int64_t)elapsed_ns;
}

int eh_card_begin(eh_card *c) {
    int64_t not_begun = 0;
    return atomic_compare_exchange_strong(&c->shared->epoch_ns, &not_begun, eh_card_now_ns());
}

// ------------------------------------------------------------------------------------------------------ the plug

eh_card_plug eh_card_plug_event(const eh_card *c, uint64_t index) {
    const eh_card_plug_slot *s = &c->shared->plugs[index & (EH_CARD_PLUG_SLOTS - 1)];
    return (eh_card_plug){index, atomic_load(&s->is_plugged), atomic_load(&s->disguise),
                          atomic_load(&s->sample_rate_hz)};
}

eh_card_plug eh_card_plug_at(const eh_card *c, int64_t frame) {
    const uint64_t n = atomic_load(&c->shared->n_plugs);
    if (atomic_load(&c->shared->is_over)) return (eh_card_plug){.index = n, .disguise = EH_CARD_AS_ENODEV};
    uint64_t index = n - 1;
    for (int back = 0; back < EH_CARD_PLUG_SLOTS - 1 && index > 0; back++, index--)
        if (atomic_load(&c->shared->plugs[index & (EH_CARD_PLUG_SLOTS - 1)].frame) <= frame) break;
    return eh_card_plug_event(c, index);
}

// --------------------------------------------------------------------------------------------------------- sleepers

void eh_card_wake(eh_card *c, int direction) {
    atomic_store(&c->shared->direction[direction].wait_frame, -1);
    // A full FIFO is as readable as can be.
    if (write(c->wake_fd[direction], "", 1) < 0) return;
}

void eh_card_tell_world(eh_card *c) {
    atomic_fetch_add(&c->shared->n_news, 1);
    if (atomic_load(&c->shared->world_waits))
        syscall(SYS_futex, &c->shared->n_news, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

int eh_card_is_owned(const eh_card *c, int direction) {
    if (atomic_load(&c->shared->direction[direction].state) == EH_CARD_CLOSED) return 0;
    // The kernel drops a dead owner's lock, whatever killed it.
    if (flock(c->wake_fd[direction], LOCK_SH | LOCK_NB)) return 1;
    flock(c->wake_fd[direction], LOCK_UN);
    return 0;
}

// --------------------------------------------------------------------------------------------------------- playback

void eh_card_place(eh_card *c, int64_t frame, const int32_t *frames, int64_t n_frames, uint64_t plug_index) {
    const size_t n = (size_t)c->n_channels[EH_CARD_PLAYBACK];
    for (int64_t i = 0; i < n_frames; i++) {
        const int64_t slot = (frame + i) & (c->ring_frames - 1);
        memcpy(c->ring[EH_CARD_PLAYBACK] + (size_t)slot * n, frames + (size_t)i * n, n * sizeof(int32_t));
        atomic_store_explicit(&c->stamps[slot], eh_card_stamp(frame + i, plug_index), memory_order_release);
    }
}

void eh_card_place_staged(eh_card *c, int64_t first, int64_t n_frames, uint64_t plug_index) {
    const int64_t start_frame = atomic_load(&c->shared->direction[EH_CARD_PLAYBACK].start_frame);
    const int64_t end = first + n_frames < c->ring_frames / 2 ? first + n_frames : c->ring_frames / 2;
    const size_t n = (size_t)c->n_channels[EH_CARD_PLAYBACK];
    if (first >= 0 && first < end)
        eh_card_place(c, start_frame + first, c->staged + (size_t)first * n, end - first, plug_index);
}

void eh_card_forget(eh_card *c, int64_t first_frame, int64_t end_frame) {
    if (end_frame > first_frame + c->ring_frames) end_frame = first_frame + c->ring_frames;
    for (int64_t frame = first_frame; frame < end_frame; frame++)
        atomic_store_explicit(&c->stamps[frame & (c->ring_frames - 1)], 0, memory_order_release);
}

int eh_card_release_armed(eh_card *c, int64_t frame) {
    eh_card_direction *d = &c->shared->direction[EH_CARD_PLAYBACK];
    int64_t armed = EH_CARD_ARMED_START;
    if (!atomic_compare_exchange_strong(&d->start_frame, &armed, frame)) return 0;
    eh_card_place_staged(c, 0, atomic_load(&d->staged_frames), eh_card_plug_at(c, frame).index);
    eh_card_wake(c, EH_CARD_PLAYBACK);
    return 1;
}
