// A virtual card's world: clock, tape, recorder, faults. One mutex among the world's own threads; programs that hold
// the card never wait for it.
#include "world.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "evenhand/convert.h"
#include "world_state.h"

// A program may write a frame in the last moment: the recorder of a wall clock keeps this far away.
enum { RECORDER_MARGIN_FRAMES = 256, NS_PER_S = 1000000000 };

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static eh_card_direction *direction(eh_world *w, int d) { return &w->card.shared->direction[d]; }

// -------------------------------------------------------------------------------------------------------- the clock

void eh_world_publish_clock(eh_world *w) {
    eh_card_header *h = w->card.shared;
    const uint64_t n = atomic_load(&h->n_clock_lines);
    eh_card_clock_slot *s = &h->clock[n % EH_CARD_CLOCK_SLOTS];
    atomic_store(&s->anchor_frame, w->anchor_frame);
    atomic_store(&s->anchor_ns, w->anchor_ns);
    atomic_store(&s->rate_uhz, w->rate_uhz);
    atomic_store(&s->limit_frame, w->limit_frame);
    atomic_store(&h->n_clock_lines, n + 1);
}

int64_t eh_world_limit_frame(const eh_world *w) {
    const eh_card_header *h = w->card.shared;
    const int64_t tape = w->has_tape ? atomic_load(&h->fed_frame) : EH_CARD_NEVER;
    const int64_t recorder = w->has_recorder ? atomic_load(&h->taken_frame) + w->card.ring_frames / 2 : EH_CARD_NEVER;
    return at_most(tape, recorder);
}

int64_t eh_world_rate_uhz(int sample_rate_hz, double ppm) { return (int64_t)(sample_rate_hz * (1e6 + ppm) + 0.5); }

// The frame that a wall clock would show now if it had waited for nothing.
static int64_t unlimited_frame(const eh_world *w, int64_t elapsed_ns) {
    return w->anchor_frame +
           (int64_t)((__int128)(elapsed_ns - w->anchor_ns) * w->rate_uhz / ((__int128)1000000 * NS_PER_S));
}

// Playback may wait for a capture stream whose program was killed, and sleep: then nobody else wakes it.
static void wake_orphan(eh_world *w) {
    if (atomic_load(&direction(w, EH_CARD_PLAYBACK)->start_frame) == EH_CARD_ARMED_START &&
        !eh_card_is_owned(&w->card, EH_CARD_CAPTURE))
        eh_card_wake(&w->card, EH_CARD_PLAYBACK);
}

// Tape or recorder have moved. A clock that waited goes on from where it stood.
static void relimit(eh_world *w) {
    const int64_t old_limit = w->limit_frame, epoch_ns = atomic_load(&w->card.shared->epoch_ns);
    if (!w->card.is_manual && epoch_ns) {
        const int64_t elapsed_ns = eh_card_now_ns() - epoch_ns, frame = unlimited_frame(w, elapsed_ns);
        if (frame > old_limit) {
            w->n_waits++;
            w->waited_frames += frame - old_limit;
            w->anchor_frame = old_limit;
            w->anchor_ns = elapsed_ns;
        }
    }
    w->limit_frame = eh_world_limit_frame(w);
    eh_world_publish_clock(w);
    wake_orphan(w);
    if (w->card.is_manual) return;
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++)
        if (atomic_load(&direction(w, d)->wait_frame) > old_limit) eh_card_wake(&w->card, d);
}

// From now on another rate; the line goes on where it is.
static void set_rate(eh_world *w, int64_t rate_uhz) {
    const int64_t epoch_ns = atomic_load(&w->card.shared->epoch_ns);
    if (!w->card.is_manual && epoch_ns) {
        const int64_t now_ns = eh_card_now_ns(), frame = eh_card_frame_at(&w->card, now_ns);
        const int64_t shown_since_ns = eh_card_time_of(&w->card, frame);
        w->anchor_ns = (frame < w->limit_frame ? at_most(shown_since_ns, now_ns) : now_ns) - epoch_ns;
        w->anchor_frame = frame;
    }
    w->rate_uhz = rate_uhz;
    eh_world_publish_clock(w);
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) eh_card_wake(&w->card, d);
}

static int64_t advance(eh_world *w, int64_t n_frames) {
    wake_orphan(w);
    if (!w->card.is_manual || !atomic_load(&w->card.shared->epoch_ns) || n_frames <= 0) return 0;
    const int64_t from = w->anchor_frame, to = at_most(from + n_frames, w->limit_frame);
    if (to < from + n_frames) {
        w->n_waits++;
        w->waited_frames += from + n_frames - to;
    }
    const uint64_t plug_index = eh_card_plug_at(&w->card, from).index;
    w->anchor_frame = to;
    eh_world_publish_clock(w);
    const int is_replugged = eh_card_plug_at(&w->card, to).index != plug_index;
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) {
        const int64_t wait_frame = atomic_load(&direction(w, d)->wait_frame);
        if (is_replugged || (wait_frame >= 0 && wait_frame <= to)) eh_card_wake(&w->card, d);
    }
    return to - from;
}

int64_t eh_world_frame(eh_world *w) { return eh_card_frame(&w->card); }

int64_t eh_world_advance(eh_world *w, int64_t n_frames) {
    pthread_mutex_lock(&w->mutex);
    const int64_t n = advance(w, n_frames);
    pthread_mutex_unlock(&w->mutex);
    return n;
}

void eh_world_set_ppm(eh_world *w, double ppm) {
    pthread_mutex_lock(&w->mutex);
    w->ppm = ppm;
    set_rate(w, eh_world_rate_uhz(w->sample_rate_hz, ppm));
    pthread_mutex_unlock(&w->mutex);
}

// ----------------------------------------------------------------------------------------------- tape and recorder

// Room on the tape: half a ring ahead of the clock; the other half is what programs may still read.
static int64_t feed(eh_world *w, const int32_t *s32, const float *lin, int64_t n_frames) {
    eh_card *c = &w->card;
    const size_t n = (size_t)c->n_channels[EH_CARD_CAPTURE];
    pthread_mutex_lock(&w->mutex);
    int64_t fed = atomic_load(&c->shared->fed_frame);
    const int64_t room = w->has_tape ? eh_card_frame(c) + c->ring_frames / 2 - fed : 0;
    const int64_t accepted = at_most(n_frames, room > 0 ? room : 0);
    for (int64_t done = 0; done < accepted;) {
        const int64_t slot = fed & (c->ring_frames - 1), part = at_most(accepted - done, c->ring_frames - slot);
        int32_t *out = c->ring[EH_CARD_CAPTURE] + (size_t)slot * n;
        if (s32)
            memcpy(out, s32 + (size_t)done * n, (size_t)part * n * sizeof *out);
        else
            eh_convert_to_s32(lin + (size_t)done * n, out, (size_t)part * n);
        done += part;
        fed += part;
    }
    if (accepted > 0) {
        atomic_store(&c->shared->fed_frame, fed);
        relimit(w);
    }
    pthread_mutex_unlock(&w->mutex);
    return accepted;
}

int64_t eh_world_feed_s32(eh_world *w, const int32_t *frames, int64_t n_frames) {
    return feed(w, frames, NULL, n_frames);
}

int64_t eh_world_feed_float(eh_world *w, const float *frames, int64_t n_frames) {
    return feed(w, NULL, frames, n_frames);
}

void eh_world_end_tape(eh_world *w) {
    pthread_mutex_lock(&w->mutex);
    w->has_tape = 0;
    relimit(w);
    pthread_mutex_unlock(&w->mutex);
}

int64_t eh_world_take(eh_world *w, int32_t *frames, int64_t max_frames, int takes_all, int64_t *first_frame) {
    eh_card *c = &w->card;
    const size_t n = (size_t)c->n_channels[EH_CARD_PLAYBACK];
    pthread_mutex_lock(&w->mutex);
    const int64_t first = atomic_load(&c->shared->taken_frame);
    const int64_t margin = c->is_manual || takes_all ? 0 : RECORDER_MARGIN_FRAMES;
    const int64_t ready = w->has_recorder ? eh_card_frame(c) - margin - first : 0;
    const int64_t n_frames = at_most(max_frames, ready > 0 ? ready : 0);
    for (int64_t i = 0; i < n_frames; i++) {
        const int64_t frame = first + i, slot = frame & (c->ring_frames - 1);
        const eh_card_plug plug = eh_card_plug_at(c, frame);
        const uint64_t stamp = atomic_load_explicit(&c->stamps[slot], memory_order_acquire);
        if (plug.is_plugged && stamp == eh_card_stamp(frame, plug.index))
            memcpy(frames + (size_t)i * n, c->ring[EH_CARD_PLAYBACK] + (size_t)slot * n, n * sizeof *frames);
        else
            memset(frames + (size_t)i * n, 0, n * sizeof *frames);
    }
    *first_frame = first;
    if (n_frames > 0) {
        atomic_store(&c->shared->taken_frame, first + n_frames);
        relimit(w);
    }
    pthread_mutex_unlock(&w->mutex);
    return n_frames;
}

// ------------------------------------------------------------------------------------------------ waiting for programs

static int is_at_rest(eh_world *w, int mask) {
    const int64_t frame = eh_card_frame(&w->card);
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) {
        if (!(mask >> d & 1) || atomic_load(&direction(w, d)->state) == EH_CARD_CLOSED) continue;
        if (atomic_load(&direction(w, d)->wait_frame) <= frame) return 0;
    }
    return 1;
}

static int has_started(eh_world *w, int mask) {
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++)
        if ((mask >> d & 1) && atomic_load(&direction(w, d)->start_frame) < 0) return 0;
    return 1;
}

static int wait_for(eh_world *w, int (*is_so)(eh_world *, int), int mask, int64_t timeout_ns) {
    eh_card_header *h = w->card.shared;
    const int64_t deadline_ns = eh_card_now_ns() + timeout_ns;
    int so = is_so(w, mask);
    if (so) return 1;
    atomic_fetch_add(&h->world_waits, 1);
    for (;;) {
        const uint32_t heard = atomic_load(&h->n_news);
        so = is_so(w, mask);
        const int64_t left_ns = deadline_ns - eh_card_now_ns();
        if (so || left_ns <= 0) break;
        const struct timespec left = {left_ns / NS_PER_S, left_ns % NS_PER_S};
        syscall(SYS_futex, &h->n_news, FUTEX_WAIT, heard, &left, NULL, 0);
    }
    atomic_fetch_sub(&h->world_waits, 1);
    return so;
}

int eh_world_wait_for_rest(eh_world *w, int mask, int64_t timeout_ns) {
    return wait_for(w, is_at_rest, mask, timeout_ns);
}

int eh_world_wait_for_start(eh_world *w, int mask, int64_t timeout_ns) {
    return wait_for(w, has_started, mask, timeout_ns);
}

int64_t eh_world_run(eh_world *w, int64_t n_frames, int64_t step_frames, int mask, int64_t timeout_ns, int *at_rest) {
    int64_t moved = 0;
    for (;;) {
        *at_rest = wait_for(w, is_at_rest, mask, timeout_ns);
        if (!*at_rest || moved >= n_frames) return moved;
        const int64_t n = eh_world_advance(w, at_most(step_frames, n_frames - moved));
        if (n <= 0) return moved;
        moved += n;
    }
}

// ----------------------------------------------------------------------------------------------------------- faults

void eh_world_set_preamp_gain(eh_world *w, int channel, float gain_lin) {
    eh_card_header *h = w->card.shared;
    if (!atomic_load(&h->has_preamps))
        for (int ch = 0; ch < EH_CARD_MAX_CHANNELS; ch++) atomic_store(&h->preamp_gain_lin[ch], 1.0f);
    atomic_store(&h->preamp_gain_lin[channel], gain_lin);
    atomic_store(&h->has_preamps, 1);
}

void eh_world_set_offer(eh_world *w, int formats, int n_capture, int n_playback) {
    atomic_store(&w->card.shared->formats, formats);
    atomic_store(&w->card.shared->n_offered_channels[EH_CARD_CAPTURE], n_capture);
    atomic_store(&w->card.shared->n_offered_channels[EH_CARD_PLAYBACK], n_playback);
}

static int plug(eh_world *w, int64_t frame, int is_plugged, int disguise, int sample_rate_hz) {
    eh_card_header *h = w->card.shared;
    const uint64_t n = atomic_load(&h->n_plugs);
    const eh_card_plug last = eh_card_plug_event(&w->card, n - 1);
    const int64_t now = eh_card_frame(&w->card);
    const int64_t last_frame = atomic_load(&h->plugs[(n - 1) & (EH_CARD_PLUG_SLOTS - 1)].frame);
    const int is_now = frame < 0;
    if (is_now) frame = now;
    if (frame < now || frame < last_frame) return -1;
    if (last.is_plugged == is_plugged) return -2;
    if (n - eh_card_plug_at(&w->card, now).index >= EH_CARD_PLUG_SLOTS - 2) return -3;
    if (!is_now && !w->card.is_manual && sample_rate_hz != w->sample_rate_hz) return -4;
    eh_card_plug_slot *slot = &h->plugs[n & (EH_CARD_PLUG_SLOTS - 1)];
    atomic_store(&slot->frame, frame);
    atomic_store(&slot->is_plugged, is_plugged);
    atomic_store(&slot->disguise, disguise);
    atomic_store(&slot->sample_rate_hz, sample_rate_hz);
    atomic_store(&h->n_plugs, n + 1);
    if (sample_rate_hz != w->sample_rate_hz) {
        w->sample_rate_hz = sample_rate_hz;
        set_rate(w, eh_world_rate_uhz(sample_rate_hz, w->ppm));
    }
    for (int d = 0; is_now && d < EH_CARD_DIRECTIONS; d++) eh_card_wake(&w->card, d);
    return 0;
}

int eh_world_plug(eh_world *w, int64_t frame, int is_plugged, int disguise, int sample_rate_hz) {
    pthread_mutex_lock(&w->mutex);
    const int status = plug(w, frame, is_plugged, disguise, sample_rate_hz > 0 ? sample_rate_hz : w->sample_rate_hz);
    pthread_mutex_unlock(&w->mutex);
    return status;
}

void eh_world_fault(eh_world *w, int d, int kind, int64_t count, int amount) {
    eh_card_direction *s = direction(w, d);
    switch (kind) {
        case EH_CARD_XRUN:
            atomic_fetch_add(&s->xruns_due, count);
            break;
        case EH_CARD_SUSPEND:
            atomic_fetch_add(&s->suspends_due, count);
            break;
        case EH_CARD_SHORT_TRANSFER:
            atomic_store(&s->short_frames, amount);
            atomic_store(&s->shorts_due, count);
            break;
        default:
            atomic_store(&s->late_frames, amount);
            atomic_store(&s->lates_due, count);
    }
    eh_card_wake(&w->card, d);
}

int eh_world_schedule(eh_world *w, int d, int64_t frame, int kind, int amount) {
    eh_card_direction *s = direction(w, d);
    int status = 0;
    pthread_mutex_lock(&w->mutex);
    const uint64_t n = atomic_load(&s->n_scheduled);
    if (frame < w->last_scheduled_frame[d]) {
        status = -1;
    } else if (n - atomic_load(&s->n_befallen) >= EH_CARD_FAULT_SLOTS) {
        status = -3;
    } else {
        eh_card_fault *f = &s->schedule[n & (EH_CARD_FAULT_SLOTS - 1)];
        w->last_scheduled_frame[d] = frame;
        atomic_store(&f->frame, frame);
        atomic_store(&f->kind, kind);
        atomic_store(&f->amount, amount);
        atomic_store(&s->n_scheduled, n + 1);
    }
    pthread_mutex_unlock(&w->mutex);
    return status;
}

// ---------------------------------------------------------------------------------------------------------- reports

static void read_direction(eh_world *w, int d, eh_world_direction *out) {
    eh_card_direction *s = direction(w, d);
    *out = (eh_world_direction){
        .state = atomic_load(&s->state),
        .owner_pid = atomic_load(&s->owner_pid),
        .start_frame = atomic_load(&s->start_frame),
        .appl_frame = atomic_load(&s->appl_frame),
        .wait_frame = atomic_load(&s->wait_frame),
        .n_opens = atomic_load(&s->n_opens),
        .n_starts = atomic_load(&s->n_starts),
        .n_wakes = atomic_load(&s->n_wakes),
        .n_late_wakes = atomic_load(&s->n_late_wakes),
        .max_late_frames = atomic_load(&s->max_late_frames),
        .n_xruns = atomic_load(&s->n_xruns),
        .n_injected_xruns = atomic_load(&s->n_injected_xruns),
        .n_short_transfers = atomic_load(&s->n_short_transfers),
        .n_suspends = atomic_load(&s->n_suspends),
        .n_scheduled_left = (int64_t)(atomic_load(&s->n_scheduled) - atomic_load(&s->n_befallen)),
    };
}

void eh_world_read(eh_world *w, eh_world_report *report) {
    pthread_mutex_lock(&w->mutex);
    const int64_t frame = eh_card_frame(&w->card);
    const eh_card_plug now = eh_card_plug_at(&w->card, frame);
    *report = (eh_world_report){
        .frame = frame,
        .fed_frame = atomic_load(&w->card.shared->fed_frame),
        .taken_frame = atomic_load(&w->card.shared->taken_frame),
        .n_waits = w->n_waits,
        .waited_frames = w->waited_frames,
        .has_begun = atomic_load(&w->card.shared->epoch_ns) != 0,
        .is_plugged = now.is_plugged,
        .sample_rate_hz = now.sample_rate_hz,
    };
    read_direction(w, EH_CARD_CAPTURE, &report->capture);
    read_direction(w, EH_CARD_PLAYBACK, &report->playback);
    pthread_mutex_unlock(&w->mutex);
}
