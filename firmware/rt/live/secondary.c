// A ring between two clocks: the writer's line comes along, the reader's own says when it reads, and the drift loop
// steers the resampler by the frames in between.
#include "secondary.h"

#include <stdatomic.h>
#include <string.h>

#include "arena.h"
#include "card_clock.h"

enum { FADE_OUT_FRAMES = 48, PIECE_FRAMES = 512, MIN_RING_FRAMES = 4096, MAX_RING_FRAMES = 1 << 18 };
static const double FADE_IN_S = 0.01;
static const double FAR_FRAMES = 96.0;  // 2 ms: the loop would bend the pitch for as many seconds

// The writer's line on its way to the reader: three slots, the newest wins, nobody waits.
enum { INDEX_MASK = 3, FRESH = 4 };
typedef struct {
    eh_clock_line slot[3];
    atomic_uint shared;
    unsigned write_slot, read_slot;
} line_mailbox;

// What the writer publishes: who sees it sees all that was written before.
#ifdef TORN_SECONDARY  // only for the test that shows the thread sanitizer sees a wrong order
#define ORDER(order) memory_order_relaxed
#else
#define ORDER(order) memory_order_##order
#endif

typedef enum { WAITING, SOUNDING, FADING } reader_state;

struct eh_secondary {
    eh_secondary_config config;
    double nominal_ratio;
    size_t ring_frames;  // a power of two
    float *ring;         // (ring_frames, n_lanes)
    line_mailbox lines;

    _Alignas(64) atomic_size_t n_written;  // frames in all; the writer's
    atomic_size_t gap_at, n_overflowed;    // the last frame written that does not join on to the one before
    eh_card_clock writer;

    _Alignas(64) atomic_size_t n_taken;  // frames in all; the reader's
    eh_card_clock reader;
    eh_resampler resampler;
    eh_drift drift;
    reader_state state;
    size_t seen_gap_at;
    double n_read, error_frames;
    float gain, fade_in_step;
    int32_t fade_left, has_sounded;
    eh_secondary_stats stats;
};

static int is_good(const eh_secondary_config *c) {
    const double ratio = c->writer_rate_hz / c->reader_rate_hz;
    return c->n_lanes > 0 && c->n_lanes <= EH_MAX_LANES && c->n_lanes % EH_LANES_PER_VECTOR == 0 &&
           c->writer_rate_hz >= 8000.0 && c->writer_rate_hz <= 192000.0 && ratio >= 0.91 && ratio <= 1.09 &&
           c->max_write_frames > 0 && c->max_read_frames > 0 && c->target_frames <= MAX_RING_FRAMES / 4 &&
           c->target_frames >= c->max_write_frames + ratio * c->max_read_frames + EH_SECONDARY_RESERVE_FRAMES;
}

// The target, and what comes on top while the reader is late for as long as the target lets the writer be.
static size_t ring_frames(const eh_secondary_config *c) {
    size_t n = MIN_RING_FRAMES;
    while (n < 2 * (size_t)c->target_frames + (size_t)c->max_write_frames) n *= 2;
    return n;
}

static size_t lay_out(eh_secondary *s, const eh_secondary_config *c, void *arena) {
    eh_arena a = {.base = arena};
    eh_arena_take(&a, sizeof *s);
    const size_t n_ring = ring_frames(c);
    float *ring = eh_arena_take(&a, n_ring * (size_t)c->n_lanes * sizeof(float));
    void *resampler = eh_arena_take(&a, eh_resampler_size_bytes(c->n_lanes));
    if (!s) return a.used_bytes;
    s->ring_frames = n_ring;
    s->ring = ring;
    eh_resampler_init(&s->resampler, c->n_lanes, s->nominal_ratio, resampler);
    return a.used_bytes;
}

size_t eh_secondary_size_bytes(const eh_secondary_config *config) {
    return is_good(config) ? lay_out(NULL, config, NULL) : 0;
}

eh_status eh_secondary_init(eh_secondary **out, const eh_secondary_config *config, void *arena) {
    if (!is_good(config)) return EH_ERR_ARGUMENT;
    memset(arena, 0, lay_out(NULL, config, NULL));
    eh_secondary *s = *out = arena;
    s->config = *config;
    s->nominal_ratio = config->writer_rate_hz / config->reader_rate_hz;
    s->fade_in_step = (float)(1.0 / (FADE_IN_S * config->reader_rate_hz));
    lay_out(s, config, arena);
    eh_card_clock_init(&s->writer, config->writer_rate_hz);
    eh_card_clock_init(&s->reader, config->reader_rate_hz);
    s->lines.read_slot = 1;
    atomic_init(&s->lines.shared, 2);
    atomic_init(&s->n_written, 0);
    atomic_init(&s->n_taken, 0);
    atomic_init(&s->gap_at, 0);
    atomic_init(&s->n_overflowed, 0);
    return eh_drift_init(&s->drift, (float)config->writer_rate_hz);
}

int eh_secondary_delay_frames(const eh_secondary_config *config) {
    return config->target_frames + EH_RESAMPLER_DELAY_FRAMES;
}

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

// --- writer's thread ---

static void send_line(line_mailbox *m, const eh_clock_line *line) {
    m->slot[m->write_slot] = *line;
    m->write_slot = atomic_exchange_explicit(&m->shared, m->write_slot | FRESH, ORDER(acq_rel)) & INDEX_MASK;
}

void eh_secondary_writer_lost_frames(eh_secondary *s) {
    const size_t written = atomic_load_explicit(&s->n_written, memory_order_relaxed);
    atomic_store_explicit(&s->gap_at, written, memory_order_release);
    eh_card_clock_restart(&s->writer);
    send_line(&s->lines, &s->writer.line);
}

void eh_secondary_write(eh_secondary *s, const float *in, size_t n_frames, int64_t now_ns) {
    const size_t written = atomic_load_explicit(&s->n_written, memory_order_relaxed);
    const size_t taken = atomic_load_explicit(&s->n_taken, memory_order_acquire);
    if (s->ring_frames - (written - taken) < n_frames) {
        atomic_fetch_add_explicit(&s->n_overflowed, n_frames, memory_order_relaxed);
        eh_secondary_writer_lost_frames(s);
        return;
    }
    const size_t stride = (size_t)s->config.n_lanes, start = written & (s->ring_frames - 1);
    const size_t n_first = at_most(n_frames, s->ring_frames - start);
    memcpy(s->ring + start * stride, in, n_first * stride * sizeof(float));
    memcpy(s->ring, in + n_first * stride, (n_frames - n_first) * stride * sizeof(float));
    atomic_store_explicit(&s->n_written, written + n_frames, ORDER(release));
    eh_card_clock_stamp(&s->writer, (double)(written + n_frames), (double)now_ns);
    send_line(&s->lines, &s->writer.line);
}

// --- reader's thread ---

void eh_secondary_reader_lost_frames(eh_secondary *s) { eh_card_clock_restart(&s->reader); }

static const eh_clock_line *newest_line(line_mailbox *m) {
    if (atomic_load_explicit(&m->shared, memory_order_relaxed) & FRESH)
        m->read_slot = atomic_exchange_explicit(&m->shared, m->read_slot, memory_order_acq_rel) & INDEX_MASK;
    return &m->slot[m->read_slot];
}

static size_t available(const eh_secondary *s) {
    return atomic_load_explicit(&s->n_written, memory_order_acquire) -
           atomic_load_explicit(&s->n_taken, memory_order_relaxed);
}

static void discard(eh_secondary *s, size_t n_frames) {
    const size_t taken = atomic_load_explicit(&s->n_taken, memory_order_relaxed);
    atomic_store_explicit(&s->n_taken, taken + n_frames, memory_order_release);
}

static double consumed(const eh_secondary *s) {
    return (double)atomic_load_explicit(&s->n_taken, memory_order_relaxed) - eh_resampler_backlog_frames(&s->resampler);
}

static void fade_out(eh_secondary *s, uint32_t *why) {
    if (s->state != SOUNDING) return;
    ++*why;
    s->state = FADING;
    s->fade_left = FADE_OUT_FRAMES;
}

static void begin(eh_secondary *s) {
    eh_drift_recentre(&s->drift);
    s->error_frames = 0.0;
    s->gain = 0.0f;
    s->state = SOUNDING;
    s->has_sounded = 1;
}

// What lies before a gap is of no use, and neither is what is more than the target.
static void stay_silent(eh_secondary *s, int is_measured, size_t n_frames) {
    const size_t taken = atomic_load_explicit(&s->n_taken, memory_order_relaxed);
    const size_t n_ready = available(s), target = (size_t)s->config.target_frames;
    if (s->seen_gap_at > taken) {
        discard(s, s->seen_gap_at - taken);
    } else if (!is_measured) {
        if (n_ready > target) discard(s, n_ready - target);
    } else if (s->error_frames >= 0.0) {
        const size_t surplus = (size_t)s->error_frames;
        const size_t needed = eh_resampler_needed_frames(&s->resampler, n_frames) + EH_SECONDARY_RESERVE_FRAMES;
        if (n_ready < surplus + needed) return;
        discard(s, surplus);
        begin(s);
    }
}

// Where the two lines say that the ring stands; 0 while one of them is not known yet.
static int measure(eh_secondary *s, size_t n_frames, double now_ns) {
    s->n_read += (double)n_frames;
    eh_card_clock_stamp(&s->reader, s->n_read, now_ns);
    const eh_clock_line *writer = newest_line(&s->lines);
    if (!eh_clock_line_is_ready(writer) || !eh_clock_line_is_ready(&s->reader.line)) return 0;
    s->stats.fill_frames = eh_clock_line_frames_at(writer, s->reader.line.ns) - consumed(s);
    s->error_frames = s->stats.fill_frames - s->config.target_frames;
    return 1;
}

static void steer(eh_secondary *s, size_t n_frames) {
    const double in_writer_frames = (double)n_frames * s->nominal_ratio;
    const double share = eh_drift_process(&s->drift, s->error_frames, (size_t)(in_writer_frames + 0.5));
    eh_resampler_set(&s->resampler, s->nominal_ratio * (1.0 + share), (int32_t)n_frames);
}

static void feed(eh_secondary *s, size_t n_frames) {
    const size_t stride = (size_t)s->config.n_lanes;
    n_frames = at_most(n_frames, available(s));
    while (n_frames > 0) {
        const size_t taken = atomic_load_explicit(&s->n_taken, memory_order_relaxed);
        const size_t start = taken & (s->ring_frames - 1), n = at_most(n_frames, s->ring_frames - start);
        eh_resampler_push(&s->resampler, s->ring + start * stride, n);
        discard(s, n);
        n_frames -= n;
    }
}

static void apply_gain(eh_secondary *s, float *out, size_t n_frames) {
    const size_t stride = (size_t)s->config.n_lanes;
    const float step = s->state == FADING ? -1.0f / FADE_OUT_FRAMES : s->fade_in_step;
    if (s->state == SOUNDING && s->gain == 1.0f) return;
    float gain = s->gain;
    for (size_t n = 0; n < n_frames; n++, out += stride) {
        gain += step;
        gain = gain < 0.0f ? 0.0f : gain > 1.0f ? 1.0f : gain;
        for (size_t lane = 0; lane < stride; lane++) out[lane] *= gain;
    }
    s->gain = gain;
}

static size_t fade_out_piece(eh_secondary *s, float *out, size_t n_frames) {
    const size_t n_wanted = at_most(n_frames, (size_t)s->fade_left);
    feed(s, eh_resampler_needed_frames(&s->resampler, n_wanted));
    const size_t n = eh_resampler_pull(&s->resampler, out, n_wanted);
    apply_gain(s, out, n);
    s->fade_left -= (int32_t)n;
    if (s->fade_left == 0 || n < n_wanted) {
        eh_resampler_reset(&s->resampler);
        s->state = WAITING;
    }
    return n;
}

static size_t sounding_piece(eh_secondary *s, float *out, size_t n_frames) {
    const size_t n = at_most(n_frames, PIECE_FRAMES), needed = eh_resampler_needed_frames(&s->resampler, n);
    if (available(s) < needed + EH_SECONDARY_RESERVE_FRAMES) {
        fade_out(s, &s->stats.n_starved);
        return 0;
    }
    feed(s, needed);
    eh_resampler_pull(&s->resampler, out, n);
    apply_gain(s, out, n);
    return n;
}

void eh_secondary_read(eh_secondary *s, float *out, size_t n_frames, int64_t now_ns) {
    const size_t stride = (size_t)s->config.n_lanes;
    const int is_measured = measure(s, n_frames, (double)now_ns);
    const size_t gap_at = atomic_load_explicit(&s->gap_at, memory_order_acquire);
    if (gap_at != s->seen_gap_at) {
        s->seen_gap_at = gap_at;
        fade_out(s, &s->stats.n_gaps);
    }
    if (s->state == SOUNDING && is_measured) {
        if (s->error_frames > FAR_FRAMES || s->error_frames < -FAR_FRAMES)
            fade_out(s, &s->stats.n_recentred);
        else
            steer(s, n_frames);
    }
    if (s->state == WAITING) stay_silent(s, is_measured, n_frames);
    while (n_frames > 0 && s->state != WAITING) {
        const size_t n = s->state == FADING ? fade_out_piece(s, out, n_frames) : sounding_piece(s, out, n_frames);
        out += n * stride;
        n_frames -= n;
    }
    memset(out, 0, n_frames * stride * sizeof(float));
    if (s->has_sounded) s->stats.n_silent_frames += n_frames;
}

eh_secondary_stats eh_secondary_read_stats(const eh_secondary *s) {
    eh_secondary_stats stats = s->stats;
    stats.consumed_frames = consumed(s);
    stats.ratio = eh_resampler_ratio(&s->resampler);
    stats.drift_ppm = 1e6 * s->drift.learned;
    stats.n_overflowed_frames = atomic_load_explicit(&s->n_overflowed, memory_order_relaxed);
    stats.is_sounding = s->state == SOUNDING;
    stats.is_locked = s->state == SOUNDING && eh_drift_is_locked(&s->drift);
    return stats;
}
