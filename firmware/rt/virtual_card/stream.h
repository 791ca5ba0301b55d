// One direction of a virtual card as a program holds it: a running, halted or dead ALSA stream.
#pragma once

#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>

#include "card.h"
#include "samples.h"

enum { EH_STREAM_CHUNK_FRAMES = 64 };

typedef struct {
    snd_pcm_ioplug_t io;
    eh_card card;
    eh_card_direction *shared;
    int direction, timer_fd;
    uint64_t plug_index;  // opened under this plug event; any later one and the handle is dead
    eh_samples samples;
    snd_pcm_uframes_t boundary, avail_min, stop_threshold;
    int64_t hw;  // frames since the start, as last told to alsa-lib
    int is_running;
    int64_t short_frames, late_frames;  // of the fault that waits for the next transfer or wake-up, else 0
    int breaks_off;                     // the next transfer ends the call that was cut short
    int32_t chunk[EH_STREAM_CHUNK_FRAMES * EH_CARD_MAX_CHANNELS];
} eh_stream;

static inline int64_t eh_at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t eh_at_least(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int eh_stream_is_playback(const eh_stream *s) { return s->direction == EH_CARD_PLAYBACK; }
static inline int64_t eh_stream_start_frame(const eh_stream *s) { return atomic_load(&s->shared->start_frame); }

// Where the program reads or writes, in frames since the start.
int64_t eh_stream_appl(const eh_stream *s);
// Forgets a run: sound not yet played is never heard.
void eh_stream_halt(eh_stream *s, eh_card_state state);
// Starts playback that waits for a capture stream which is no more.
void eh_stream_release_orphan(eh_stream *s);
// From which position of the card on the program sees this position.
int64_t eh_stream_shown_from(const eh_stream *s, int64_t position);

// A handle that was open when the plug was pulled is dead for good; how that shows is the driver's secret.
int eh_stream_is_gone(const eh_stream *s, int64_t frame);
eh_card_disguise eh_stream_disguise(const eh_stream *s);
// The next fault that is due and stops the stream. Those that only hamper it are noted on the way.
eh_card_fault_kind eh_stream_due_fault(eh_stream *s, int64_t frame);
int64_t eh_stream_late_frames(const eh_stream *s);

// Callbacks of alsa-lib.
int eh_stream_start(snd_pcm_ioplug_t *io);
int eh_stream_stop(snd_pcm_ioplug_t *io);
int eh_stream_prepare(snd_pcm_ioplug_t *io);
int eh_stream_resume(snd_pcm_ioplug_t *io);
snd_pcm_sframes_t eh_stream_pointer(snd_pcm_ioplug_t *io);
snd_pcm_sframes_t eh_stream_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                     snd_pcm_uframes_t offset, snd_pcm_uframes_t size);
int eh_stream_poll_descriptors_count(snd_pcm_ioplug_t *io);
int eh_stream_poll_descriptors(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int space);
int eh_stream_poll_revents(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int n_fds, unsigned short *revents);
