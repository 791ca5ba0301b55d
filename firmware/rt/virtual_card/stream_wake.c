// When a program that holds a virtual card sleeps, and when it is woken. Programs see one or two descriptors: a FIFO
// that anybody may wake them by, and on a wall clock a timer.
#include <sys/timerfd.h>
#include <unistd.h>

#include "stream.h"

// The card frame in which the program has something to do.
static int64_t wake_frame(const eh_stream *s) {
    const int64_t start = eh_stream_start_frame(s), appl = eh_stream_appl(s);
    const int64_t avail_min = eh_at_most((int64_t)s->avail_min, (int64_t)s->io.buffer_size);
    if (!eh_stream_is_playback(s))
        return s->is_running && start >= 0 ? start + eh_stream_shown_from(s, appl + avail_min) : EH_CARD_NEVER;
    if (start < 0) return (int64_t)s->io.buffer_size - appl >= avail_min ? 0 : EH_CARD_NEVER;
    return start + appl + (s->io.state == SND_PCM_STATE_DRAINING ? 0 : avail_min - (int64_t)s->io.buffer_size);
}

static int is_started(const eh_stream *s) { return s->is_running && eh_stream_start_frame(s) >= 0; }

// The same, with the lateness that was ordered. Looks for due faults first: they may order it.
static int64_t alarm_frame(eh_stream *s, int64_t frame, int *is_broken) {
    *is_broken = eh_stream_is_gone(s, frame) || (is_started(s) && eh_stream_due_fault(s, frame) != EH_CARD_NO_FAULT);
    const int64_t target = wake_frame(s);
    return target == EH_CARD_NEVER || !is_started(s) ? target : target + eh_stream_late_frames(s);
}

static int is_ready(eh_stream *s, int64_t frame) {
    int is_broken;
    const int64_t alarm = alarm_frame(s, frame, &is_broken);
    return is_broken || frame >= alarm;
}

static void drain(const eh_stream *s) {
    char bytes[256];
    while (read(s->card.wake_fd[s->direction], bytes, sizeof bytes) == sizeof bytes) {
    }
}

static void arm(const eh_stream *s, int64_t time_ns) {
    struct itimerspec at = {0};
    if (time_ns != EH_CARD_NEVER) {
        at.it_value.tv_sec = time_ns / 1000000000;
        at.it_value.tv_nsec = time_ns % 1000000000;
    }
    timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

// Empties the descriptors and sets the alarm. Returns whether the program must not sleep after all: what happened
// before the promise to wait was made has woken nobody.
static int go_to_sleep(eh_stream *s) {
    int is_broken;
    drain(s);
    eh_stream_release_orphan(s);
    const int64_t alarm = alarm_frame(s, eh_card_frame(&s->card), &is_broken);
    atomic_store(&s->shared->wait_frame, alarm);
    if (!s->card.is_manual) arm(s, alarm == EH_CARD_NEVER ? alarm : eh_card_time_of(&s->card, alarm));
    if (is_ready(s, eh_card_frame(&s->card))) {
        atomic_store(&s->shared->wait_frame, -1);
        return 1;
    }
    eh_card_tell_world(&s->card);
    return 0;
}

static void note_wake(eh_stream *s, int64_t frame) {
    const int64_t due = wake_frame(s);
    if (!is_started(s) || due == EH_CARD_NEVER || frame < due) return;
    eh_card_direction *d = s->shared;
    atomic_fetch_add(&d->n_wakes, 1);
    if (frame - due >= (int64_t)s->avail_min) atomic_fetch_add(&d->n_late_wakes, 1);
    if (frame - due > atomic_load(&d->max_late_frames)) atomic_store(&d->max_late_frames, frame - due);
    s->late_frames = 0;
    if (atomic_load(&d->lates_due) > 0) atomic_fetch_sub(&d->lates_due, 1);
}

int eh_stream_poll_descriptors_count(snd_pcm_ioplug_t *io) {
    const eh_stream *s = io->private_data;
    return s->card.is_manual ? 1 : 2;
}

// alsa-lib asks right before it sleeps in snd_pcm_wait, readi and writei; other programs once, before they start.
int eh_stream_poll_descriptors(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int space) {
    eh_stream *s = io->private_data;
    const unsigned n = s->card.is_manual ? 1 : 2;
    if (space < n) return -EINVAL;
    fds[0] = (struct pollfd){.fd = s->card.wake_fd[s->direction], .events = POLLIN};
    if (n > 1) fds[1] = (struct pollfd){.fd = s->timer_fd, .events = POLLIN};
    if (go_to_sleep(s)) eh_card_wake(&s->card, s->direction);
    return (int)n;
}

int eh_stream_poll_revents(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int n_fds, unsigned short *revents) {
    eh_stream *s = io->private_data;
    const unsigned short event = eh_stream_is_playback(s) ? POLLOUT : POLLIN;
    (void)fds;
    (void)n_fds;
    *revents = 0;
    const int64_t frame = eh_card_frame(&s->card);
    if (eh_stream_is_gone(s, frame)) {
        atomic_store(&s->shared->wait_frame, -1);
        switch (eh_stream_disguise(s)) {
            case EH_CARD_AS_EPIPE:
                *revents = event;
                return 0;
            case EH_CARD_AS_EAGAIN:
                return -EAGAIN;
            default:
                snd_pcm_ioplug_set_state(io, SND_PCM_STATE_DISCONNECTED);
                *revents = event | POLLERR | POLLHUP;
                return 0;
        }
    }
    if (io->state == SND_PCM_STATE_XRUN || io->state == SND_PCM_STATE_SUSPENDED) {
        *revents = event | POLLERR;
        return 0;
    }
    if (is_ready(s, frame) || go_to_sleep(s)) {
        atomic_store(&s->shared->wait_frame, -1);
        note_wake(s, frame);
        *revents = event;
    }
    return 0;
}
