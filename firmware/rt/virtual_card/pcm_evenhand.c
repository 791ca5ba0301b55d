// ALSA plug-in "evenhand": opens a virtual card by its file and offers what the card offers, nothing else.
// alsa-lib loads it by path (pcm_type.evenhand.lib); see README.md.
#include "stream.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 5, LOCK_PAUSE_NS = 1000000, MIN_PERIOD_FRAMES = 8, MAX_PERIODS = 1024 };

static int sample_bytes_of(snd_pcm_format_t format) { return snd_pcm_format_physical_width(format) / 8; }

static int set_hw_params(snd_pcm_ioplug_t *io, snd_pcm_hw_params_t *params) {
    eh_stream *s = io->private_data;
    (void)params;
    if ((int64_t)io->buffer_size > s->card.ring_frames / 2) return -EINVAL;
    s->samples.n_channels = (int)io->channels;
    s->samples.n_card_channels = s->card.n_channels[s->direction];
    s->samples.sample_bytes = sample_bytes_of(io->format);
    return s->samples.n_channels <= s->samples.n_card_channels ? 0 : -EINVAL;
}

static int free_hw_params(snd_pcm_ioplug_t *io) {
    eh_stream_halt(io->private_data, EH_CARD_OPEN);
    return 0;
}

static int set_sw_params(snd_pcm_ioplug_t *io, snd_pcm_sw_params_t *params) {
    eh_stream *s = io->private_data;
    snd_pcm_sw_params_get_boundary(params, &s->boundary);
    snd_pcm_sw_params_get_avail_min(params, &s->avail_min);
    snd_pcm_sw_params_get_stop_threshold(params, &s->stop_threshold);
    return 0;
}

static void release(eh_stream *s) {
    if (s->timer_fd >= 0) close(s->timer_fd);
    eh_card_unmap(&s->card);  // closing the FIFO gives the direction back
    free(s);
}

static int close_stream(snd_pcm_ioplug_t *io) {
    eh_stream *s = io->private_data;
    eh_stream_halt(s, EH_CARD_CLOSED);
    atomic_store(&s->shared->owner_pid, 0);
    if (s->direction == EH_CARD_CAPTURE &&
        atomic_load(&s->card.shared->direction[EH_CARD_PLAYBACK].start_frame) == EH_CARD_ARMED_START) {
        eh_card_begin(&s->card);
        eh_card_release_armed(&s->card, eh_card_frame(&s->card));
    }
    release(s);
    return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
    .start = eh_stream_start,
    .stop = eh_stream_stop,
    .pointer = eh_stream_pointer,
    .transfer = eh_stream_transfer,
    .close = close_stream,
    .hw_params = set_hw_params,
    .hw_free = free_hw_params,
    .sw_params = set_sw_params,
    .prepare = eh_stream_prepare,
    .resume = eh_stream_resume,
    .poll_descriptors_count = eh_stream_poll_descriptors_count,
    .poll_descriptors = eh_stream_poll_descriptors,
    .poll_revents = eh_stream_poll_revents,
};

static int offer(eh_stream *s, int sample_rate_hz) {
    static const unsigned access[] = {SND_PCM_ACCESS_RW_INTERLEAVED, SND_PCM_ACCESS_RW_NONINTERLEAVED,
                                      SND_PCM_ACCESS_MMAP_INTERLEAVED, SND_PCM_ACCESS_MMAP_NONINTERLEAVED};
    static const struct {
        int bit;
        unsigned format;
    } known[] = {{EH_CARD_S32_LE, SND_PCM_FORMAT_S32_LE},
                 {EH_CARD_S24_3LE, SND_PCM_FORMAT_S24_3LE},
                 {EH_CARD_S16_LE, SND_PCM_FORMAT_S16_LE}};
    const int mask = atomic_load(&s->card.shared->formats);
    unsigned formats[3], n_formats = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (mask & known[i].bit) formats[n_formats++] = known[i].format;
    const int n_channels = atomic_load(&s->card.shared->n_offered_channels[s->direction]);
    if (!n_formats || n_channels < 1 || n_channels > s->card.n_channels[s->direction]) return -EINVAL;
    const unsigned n = (unsigned)n_channels, ring = (unsigned)s->card.ring_frames;
    snd_pcm_ioplug_t *io = &s->io;
    int error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 4, access);
    if (!error) error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, n_formats, formats);
    if (!error) error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, n, n);
    if (!error)
        error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, (unsigned)sample_rate_hz,
                                                (unsigned)sample_rate_hz);
    // In bytes, as alsa-lib wants it: at most half a ring of the narrowest format.
    if (!error)
        error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, MIN_PERIOD_FRAMES * n * 2,
                                                ring / 4 * n * 2);
    if (!error)
        error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 2 * MIN_PERIOD_FRAMES * n * 2,
                                                ring / 2 * n * 2);
    if (!error) error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, MAX_PERIODS);
    return error;
}

// One program a direction. Who only looks whether it is owned holds the lock for a moment, so this asks more than once.
static int own(eh_stream *s) {
    for (int tries = 0; flock(s->card.wake_fd[s->direction], LOCK_EX | LOCK_NB); tries++) {
        if (tries == LOCK_TRIES) return -EBUSY;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    // What a killed owner left behind.
    const int64_t frame = eh_card_frame(&s->card);
    if (s->direction == EH_CARD_PLAYBACK) eh_card_forget(&s->card, frame, frame + s->card.ring_frames / 2);
    eh_stream_halt(s, EH_CARD_OPEN);
    atomic_store(&s->shared->appl_frame, 0);
    atomic_store(&s->shared->owner_pid, (int32_t)getpid());
    atomic_fetch_add(&s->shared->n_opens, 1);
    return 0;
}

static int refuse(int error, const char *path, const char *reason) {
    SNDERR("evenhand: %s: %s", path, reason);
    return error;
}

static int open_card(snd_pcm_t **pcm, const char *name, const char *path, snd_pcm_stream_t direction, int mode) {
    char reason[128];
    eh_stream *s = calloc(1, sizeof *s);
    if (!s) return -ENOMEM;
    int error = eh_card_map(&s->card, path, reason, sizeof reason);
    if (error) {
        free(s);
        return refuse(error, path, reason);
    }
    s->direction = direction == SND_PCM_STREAM_PLAYBACK ? EH_CARD_PLAYBACK : EH_CARD_CAPTURE;
    s->shared = &s->card.shared->direction[s->direction];
    s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    s->io = (snd_pcm_ioplug_t){
        .version = SND_PCM_IOPLUG_VERSION,
        .name = "Evenhand virtual card",
        .flags = SND_PCM_IOPLUG_FLAG_MONOTONIC | SND_PCM_IOPLUG_FLAG_BOUNDARY_WA,
        .poll_fd = s->card.wake_fd[s->direction],
        .poll_events = POLLIN,
        .callback = &callbacks,
        .private_data = s,
        .nonblock = (mode & SND_PCM_NONBLOCK) != 0,  // alsa-lib only sets it when it is changed later
    };
    const eh_card_plug plug = eh_card_plug_at(&s->card, eh_card_frame(&s->card));
    s->plug_index = plug.index;
    if (s->timer_fd < 0)
        error = -errno;
    else if (!s->card.n_channels[s->direction])
        error = refuse(-ENOENT, path, "the card has no channel in this direction");
    else if (!plug.is_plugged)
        error = -ENODEV;
    else
        error = own(s);
    if (!error) {
        error = snd_pcm_ioplug_create(&s->io, name, direction, mode);
        if (!error) {
            error = offer(s, plug.sample_rate_hz);
            if (!error) {
                *pcm = s->io.pcm;
                return 0;
            }
            snd_pcm_ioplug_delete(&s->io);  // closes the stream, and so frees it
            return refuse(error, path, "the card offers nothing that can be opened");
        }
        eh_stream_halt(s, EH_CARD_CLOSED);
    }
    release(s);
    return error;
}

SND_PCM_PLUGIN_DEFINE_FUNC(evenhand) {
    const char *path = NULL;
    snd_config_iterator_t i, next;
    (void)root;
    snd_config_for_each(i, next, conf) {
        snd_config_t *entry = snd_config_iterator_entry(i);
        const char *key;
        if (snd_config_get_id(entry, &key) < 0) continue;
        if (!strcmp(key, "comment") || !strcmp(key, "type") || !strcmp(key, "hint")) continue;
        if (!strcmp(key, "path") && snd_config_get_string(entry, &path) == 0) continue;
        SNDERR("evenhand: pcm.%s: unknown or wrong field '%s'; there is path \"FILE\"", name, key);
        return -EINVAL;
    }
    if (!path) {
        SNDERR("evenhand: pcm.%s: path \"FILE\" is missing", name);
        return -EINVAL;
    }
    return open_card(pcmp, name, path, stream, mode);
}

SND_PCM_PLUGIN_SYMBOL(evenhand)
