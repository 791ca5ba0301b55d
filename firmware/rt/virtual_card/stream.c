// Start, stop and position of a virtual card's stream, and the faults that befall it.
#include "stream.h"

int64_t eh_stream_appl(const eh_stream *s) {
    // alsa-lib keeps both pointers modulo boundary; their distance is at most a buffer either way.
    snd_pcm_sframes_t ahead = (snd_pcm_sframes_t)(s->io.appl_ptr - s->io.hw_ptr);
    const snd_pcm_sframes_t boundary = (snd_pcm_sframes_t)s->boundary;
    if (ahead > boundary / 2) ahead -= boundary;
    if (ahead < -boundary / 2) ahead += boundary;
    return s->hw + ahead;
}

static void set_state(eh_stream *s, eh_card_state state) {
    atomic_store(&s->shared->state, state);
    eh_card_tell_world(&s->card);
}

void eh_stream_halt(eh_stream *s, eh_card_state state) {
    const int64_t start = eh_stream_start_frame(s);
    if (s->is_running && eh_stream_is_playback(s) && start >= 0)
        eh_card_forget(&s->card, eh_at_least(start, eh_card_frame(&s->card)),
                       start + s->hw + (int64_t)s->io.buffer_size);
    s->is_running = 0;
    s->breaks_off = 0;
    atomic_store(&s->shared->start_frame, EH_CARD_NOT_STARTED);
    atomic_store(&s->shared->staged_frames, 0);
    atomic_store(&s->shared->wait_frame, -1);
    set_state(s, state);
}

// ----------------------------------------------------------------------------------------------------------- faults

int eh_stream_is_gone(const eh_stream *s, int64_t frame) {
    return eh_card_plug_at(&s->card, frame).index != s->plug_index;
}

eh_card_disguise eh_stream_disguise(const eh_stream *s) {
    return (eh_card_disguise)eh_card_plug_event(&s->card, s->plug_index + 1).disguise;
}

eh_card_fault_kind eh_stream_due_fault(eh_stream *s, int64_t frame) {
    eh_card_direction *d = s->shared;
    if (atomic_load(&d->xruns_due) > 0) return EH_CARD_XRUN;
    if (atomic_load(&d->suspends_due) > 0) return EH_CARD_SUSPEND;
    for (int i = 0; i < EH_CARD_FAULT_SLOTS; i++) {
        const uint64_t n = atomic_load(&d->n_befallen);
        const eh_card_fault *f = &d->schedule[n & (EH_CARD_FAULT_SLOTS - 1)];
        if (n >= atomic_load(&d->n_scheduled) || atomic_load(&f->frame) > frame) return EH_CARD_NO_FAULT;
        const int32_t kind = atomic_load(&f->kind);
        if (kind == EH_CARD_XRUN || kind == EH_CARD_SUSPEND) return (eh_card_fault_kind)kind;
        if (kind == EH_CARD_SHORT_TRANSFER)
            s->short_frames = atomic_load(&f->amount);
        else if (kind == EH_CARD_LATE_WAKE)
            s->late_frames = atomic_load(&f->amount);
        atomic_store(&d->n_befallen, n + 1);
    }
    return EH_CARD_NO_FAULT;
}

static void consume(eh_stream *s, eh_card_fault_kind kind) {
    _Atomic int64_t *due = kind == EH_CARD_XRUN ? &s->shared->xruns_due : &s->shared->suspends_due;
    if (atomic_load(due) > 0)
        atomic_fetch_sub(due, 1);
    else
        atomic_fetch_add(&s->shared->n_befallen, 1);
}

int64_t eh_stream_late_frames(const eh_stream *s) {
    return s->late_frames + (atomic_load(&s->shared->lates_due) ? atomic_load(&s->shared->late_frames) : 0);
}

// ------------------------------------------------------------------------------------------------------ the pointer

// Capture moves in whole periods, as cards with packets or bursts do. With a pointer that moves by frames, alsa-lib's
// readi takes the few frames of its own wake-up latency, sleeps a whole avail_min on top, and drifts into an overrun.
int64_t eh_stream_shown_from(const eh_stream *s, int64_t position) {
    const int64_t period = (int64_t)s->io.period_size;
    return (position + period - 1) / period * period;
}

void eh_stream_release_orphan(eh_stream *s) {
    if (eh_stream_is_playback(s) && eh_stream_start_frame(s) == EH_CARD_ARMED_START &&
        !eh_card_is_owned(&s->card, EH_CARD_CAPTURE)) {
        eh_card_begin(&s->card);
        eh_card_release_armed(&s->card, eh_card_frame(&s->card));
    }
}

static snd_pcm_sframes_t told(const eh_stream *s) {
    return (snd_pcm_sframes_t)((snd_pcm_uframes_t)s->hw % (s->boundary ? s->boundary : 1));
}

static snd_pcm_sframes_t xrun(eh_stream *s, _Atomic int64_t *counter) {
    atomic_fetch_add(counter, 1);
    eh_stream_halt(s, EH_CARD_OPEN);
    return -EPIPE;
}

// alsa-lib makes an xrun of every error, so what is none sets its state and returns a position: one with all to read
// and room to write, or a program that does not block would be told to try again and not why.
static snd_pcm_sframes_t stopped_as(eh_stream *s, snd_pcm_state_t state) {
    const int64_t appl = eh_stream_appl(s);
    if (s->is_running) eh_stream_halt(s, EH_CARD_OPEN);
    s->hw = eh_at_least(s->hw, eh_stream_is_playback(s) ? appl : appl + (int64_t)s->io.period_size);
    snd_pcm_ioplug_set_state(&s->io, state);
    return told(s);
}

static snd_pcm_sframes_t pointer_of_gone(eh_stream *s) {
    switch (eh_stream_disguise(s)) {
        case EH_CARD_AS_EPIPE:
            if (s->is_running) eh_stream_halt(s, EH_CARD_OPEN);
            return -EPIPE;
        case EH_CARD_AS_EAGAIN:
            return told(s);
        default:
            return stopped_as(s, SND_PCM_STATE_DISCONNECTED);
    }
}

snd_pcm_sframes_t eh_stream_pointer(snd_pcm_ioplug_t *io) {
    eh_stream *s = io->private_data;
    eh_stream_release_orphan(s);
    const int64_t frame = eh_card_frame(&s->card), start = eh_stream_start_frame(s);
    if (eh_stream_is_gone(s, frame)) return pointer_of_gone(s);
    if (!s->is_running || start < 0) return told(s);

    const eh_card_fault_kind fault = eh_stream_due_fault(s, frame);
    if (fault != EH_CARD_NO_FAULT) consume(s, fault);
    if (fault == EH_CARD_XRUN) return xrun(s, &s->shared->n_injected_xruns);
    if (fault == EH_CARD_SUSPEND) {
        atomic_fetch_add(&s->shared->n_suspends, 1);
        return stopped_as(s, SND_PCM_STATE_SUSPENDED);
    }

    const int64_t appl = eh_stream_appl(s), stop = (int64_t)s->stop_threshold;
    const int is_draining = io->state == SND_PCM_STATE_DRAINING;
    int64_t hw = frame - start;
    if (eh_stream_is_playback(s)) {
        if (is_draining)
            hw = eh_at_most(hw, appl);
        else if (hw + (int64_t)s->io.buffer_size - appl >= stop)
            return xrun(s, &s->shared->n_xruns);
    } else {
        if (is_draining) return -EPIPE;  // nothing to drain: alsa-lib then drops
        if (hw - appl > stop) return xrun(s, &s->shared->n_xruns);
        hw -= hw % (int64_t)s->io.period_size;
    }
    s->hw = eh_at_least(hw, s->hw);
    return told(s);
}

// ---------------------------------------------------------------------------------------------------- start and stop

int eh_stream_start(snd_pcm_ioplug_t *io) {
    eh_stream *s = io->private_data;
    eh_card *c = &s->card;
    if (eh_stream_is_gone(s, eh_card_frame(c)) && eh_stream_disguise(s) == EH_CARD_AS_ENODEV) {
        snd_pcm_ioplug_set_state(io, SND_PCM_STATE_DISCONNECTED);
        return -ENODEV;
    }
    if (eh_stream_is_playback(s) && eh_stream_appl(s) <= 0 && s->stop_threshold < s->boundary) return -EPIPE;
    s->is_running = 1;
    atomic_fetch_add(&s->shared->n_starts, 1);
    if (eh_stream_is_playback(s)) {
        atomic_store(&s->shared->start_frame, EH_CARD_ARMED_START);
        set_state(s, EH_CARD_RUNNING);
        const eh_card_direction *capture = &c->shared->direction[EH_CARD_CAPTURE];
        const int waits = atomic_load(&capture->state) == EH_CARD_PREPARED && eh_card_is_owned(c, EH_CARD_CAPTURE);
        if (!waits) {
            const int is_first = eh_card_begin(c);
            eh_card_release_armed(c, is_first ? 0 : eh_card_frame(c));
        }
    } else {
        // The call that begins the clock gets frame 0, however late it looks at it.
        const int64_t frame = eh_card_begin(c) ? 0 : eh_card_frame(c);
        atomic_store(&s->shared->start_frame, frame);
        set_state(s, EH_CARD_RUNNING);
        eh_card_release_armed(c, frame);
    }
    eh_card_tell_world(c);
    eh_card_wake(c, s->direction);
    return 0;
}

int eh_stream_stop(snd_pcm_ioplug_t *io) {
    eh_stream_halt(io->private_data, EH_CARD_OPEN);
    return 0;
}

int eh_stream_prepare(snd_pcm_ioplug_t *io) {
    eh_stream *s = io->private_data;
    if (eh_stream_is_gone(s, eh_card_frame(&s->card)) && eh_stream_disguise(s) == EH_CARD_AS_ENODEV) {
        snd_pcm_ioplug_set_state(io, SND_PCM_STATE_DISCONNECTED);
        return -ENODEV;
    }
    eh_stream_halt(s, EH_CARD_PREPARED);
    s->hw = 0;
    eh_card_wake(&s->card, s->direction);
    return 0;
}

// The stream has to be prepared anew; alsa-lib does not let an ioplug say so in snd_pcm_resume itself.
int eh_stream_resume(snd_pcm_ioplug_t *io) { return snd_pcm_ioplug_set_state(io, SND_PCM_STATE_XRUN); }
