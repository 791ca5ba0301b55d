// Moves frames between a program and the card: tape or cable to capture, playback to the ring or to the stage.
#include "stream.h"

static void mix_cable(const eh_stream *s, int64_t frame, int32_t *row) {
    const eh_card *c = &s->card;
    const int64_t slot = frame & (c->ring_frames - 1);
    const int n_out = c->n_channels[EH_CARD_PLAYBACK];
    const int32_t *played = c->ring[EH_CARD_PLAYBACK] + slot * n_out;
    const int is_heard =
        atomic_load_explicit(&c->stamps[slot], memory_order_acquire) == eh_card_stamp(frame, s->plug_index);
    for (int ch = 0; ch < c->n_channels[EH_CARD_CAPTURE]; ch++) {
        int64_t sum = 0;
        for (int out = 0; is_heard && out < n_out; out++)
            if (c->cable[ch] >> out & 1) sum += played[out];
        row[ch] = (int32_t)eh_at_least(eh_at_most(sum, INT32_MAX), INT32_MIN);
    }
}

// What a preamp makes of the tape: louder, and clipped where its converter would.
static void amplify(const eh_card *c, const int32_t *tape, int32_t *out, int64_t n_frames) {
    const int64_t n_channels = c->n_channels[EH_CARD_CAPTURE];
    for (int64_t ch = 0; ch < n_channels; ch++) {
        const double gain_lin = atomic_load_explicit(&c->shared->preamp_gain_lin[ch], memory_order_relaxed);
        for (int64_t at = ch; at < n_frames * n_channels; at += n_channels) {
            const double sample = tape[at] * gain_lin;
            out[at] = sample >= INT32_MAX ? INT32_MAX : sample > INT32_MIN ? (int32_t)sample : INT32_MIN;
        }
    }
}

static void capture(eh_stream *s, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset, int64_t frame,
                    int64_t n_frames) {
    const eh_card *c = &s->card;
    const int64_t fed = atomic_load(&c->shared->fed_frame), kept = fed - c->ring_frames;
    while (n_frames > 0) {
        const int64_t slot = frame & (c->ring_frames - 1);
        const int32_t *frames = NULL;
        int64_t n = n_frames;
        if (c->has_cable) {
            mix_cable(s, frame, s->chunk);
            frames = s->chunk;
            n = 1;
        } else if (frame < kept) {
            n = eh_at_most(n, kept - frame);
        } else if (frame < fed) {
            n = eh_at_most(eh_at_most(n, fed - frame), c->ring_frames - slot);
            frames = c->ring[EH_CARD_CAPTURE] + slot * c->n_channels[EH_CARD_CAPTURE];
            if (atomic_load_explicit(&c->shared->has_preamps, memory_order_acquire)) {
                n = eh_at_most(n, EH_STREAM_CHUNK_FRAMES);
                amplify(c, frames, s->chunk, n);
                frames = s->chunk;
            }
        }
        n = eh_at_least(n, 1);  // whatever a damaged file says, this comes to an end
        eh_samples_out(&s->samples, frames, areas, offset, (snd_pcm_uframes_t)n);
        frame += n;
        offset += (snd_pcm_uframes_t)n;
        n_frames -= n;
    }
}

static void play(eh_stream *s, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset, int64_t position,
                 int64_t n_frames) {
    eh_card *c = &s->card;
    while (n_frames > 0) {
        const int64_t n = eh_at_most(n_frames, EH_STREAM_CHUNK_FRAMES);
        const int64_t n_channels = c->n_channels[EH_CARD_PLAYBACK];
        int64_t start = eh_stream_start_frame(s);
        eh_samples_in(&s->samples, s->chunk, areas, offset, (snd_pcm_uframes_t)n);
        if (start >= 0) {
            eh_card_place(c, start + position, s->chunk, n, s->plug_index);
        } else if (position >= 0 && position + n <= c->ring_frames / 2) {
            memcpy(c->staged + position * n_channels, s->chunk, (size_t)(n * n_channels) * sizeof *s->chunk);
            atomic_store(&s->shared->staged_frames, position + n);
            // Capture may have started meanwhile, without having seen these.
            start = eh_stream_start_frame(s);
            if (start >= 0) eh_card_place_staged(c, position, n, s->plug_index);
        }
        position += n;
        offset += (snd_pcm_uframes_t)n;
        n_frames -= n;
    }
}

snd_pcm_sframes_t eh_stream_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                     snd_pcm_uframes_t offset, snd_pcm_uframes_t size) {
    eh_stream *s = io->private_data;
    if (io->state == SND_PCM_STATE_DISCONNECTED) return -ENODEV;
    if (io->state == SND_PCM_STATE_SUSPENDED) return -ESTRPIPE;
    if (eh_stream_is_gone(s, eh_card_frame(&s->card)) && eh_stream_disguise(s) == EH_CARD_AS_EAGAIN) return -EAGAIN;
    if (s->breaks_off) {  // alsa-lib asks again within one call: an error now makes it return what it has
        s->breaks_off = 0;
        return -EAGAIN;
    }
    int64_t n_frames = (int64_t)size, only = s->short_frames;
    if (atomic_load(&s->shared->shorts_due) > 0 && !only) only = atomic_load(&s->shared->short_frames);
    if (only > 0 && only < n_frames) {
        if (!s->short_frames) atomic_fetch_sub(&s->shared->shorts_due, 1);
        s->short_frames = 0;
        s->breaks_off = 1;
        atomic_fetch_add(&s->shared->n_short_transfers, 1);
        n_frames = only;
    }
    const int64_t position = eh_stream_appl(s), start = eh_stream_start_frame(s);
    if (eh_stream_is_playback(s))
        play(s, areas, offset, position, n_frames);
    else
        capture(s, areas, offset, start + position, n_frames);
    atomic_store(&s->shared->appl_frame, eh_at_least(start, 0) + position + n_frames);
    return n_frames;
}
