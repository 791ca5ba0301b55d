// Capture and playback as one device.
#include "card.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    // Room beside what playback runs ahead: capture may wait as long as playback can go on without us, and longer.
    MIN_BUFFER_PERIODS = 4,
    MIN_BRIM_PERIODS = 2,
    MAX_RESUME_TRIES = 20,  // of a suspended card, a millisecond each
};

static int power_of_two(int least, int n_periods) {
    while (least < n_periods) least *= 2;
    return least;
}

// Playback alone has only its own buffer to tell the time by: it is full, and each period that leaves it wakes us.
static int buffer_periods(const eh_card_config *c) {
    return c->n_capture > 0 ? power_of_two(MIN_BUFFER_PERIODS, 2 * c->n_periods)
                            : power_of_two(MIN_BRIM_PERIODS, c->n_periods);
}

static int ahead_periods(const eh_card_config *c) { return c->n_capture > 0 ? c->n_periods : buffer_periods(c); }

int eh_card_check(const eh_card_config *c, char *why) {
    const int is_sane = c->n_capture >= 0 && c->n_capture <= EH_MAX_CARD_CHANNELS && c->n_playback >= 0 &&
                        c->n_playback <= EH_MAX_CARD_CHANNELS && c->n_capture + c->n_playback > 0 &&
                        c->period_frames >= 1 && c->period_frames <= EH_MAX_PERIOD_FRAMES && c->n_periods >= 1 &&
                        c->n_periods <= 16 && c->n_capture_lanes >= 1 && c->n_capture_lanes <= EH_MAX_CAPTURE_LANES &&
                        c->timeout_ms > 0;
    if (!is_sane) {
        snprintf(why, EH_WHY_BYTES, "%s: %d inputs, %d outputs, periods of %d frames, %d of them ahead: cannot be",
                 c->n_capture > 0 ? c->capture_pcm : c->playback_pcm, c->n_capture, c->n_playback, c->period_frames,
                 c->n_periods);
        return -EINVAL;
    }
    for (int lane = 0; lane < c->n_capture_lanes; lane++)
        if (c->capture_channel[lane] < -1 || c->capture_channel[lane] >= c->n_capture) {
            snprintf(why, EH_WHY_BYTES, "%s: lane %d wants input %d; the card has %d", c->capture_pcm, lane + 1,
                     c->capture_channel[lane] + 1, c->n_capture);
            return -EINVAL;
        }
    for (int channel = 0; channel < c->n_playback; channel++)
        if (c->playback_output[channel] < -1 || c->playback_output[channel] >= EH_N_OUTPUTS) {
            snprintf(why, EH_WHY_BYTES, "%s: output %d is fed by bus %d; there are %d", c->playback_pcm, channel + 1,
                     c->playback_output[channel] + 1, EH_N_OUTPUTS);
            return -EINVAL;
        }
    return 0;
}

static eh_pcm_spec spec_of(const eh_card_config *c, int is_capture) {
    return (eh_pcm_spec){
        .name = is_capture ? c->capture_pcm : c->playback_pcm,
        .is_capture = is_capture,
        .sample_rate_hz = c->sample_rate_hz,
        .n_channels = is_capture ? c->n_capture : c->n_playback,
        .period_frames = c->period_frames,
        .buffer_frames = c->period_frames * buffer_periods(c),
        .formats = c->formats,
    };
}

int eh_card_open(eh_card *card, char *why) {
    const eh_pcm_spec capture = spec_of(&card->config, 1), playback = spec_of(&card->config, 0);
    int error = capture.n_channels > 0 ? eh_pcm_open(&card->capture, &capture, why) : 0;
    if (error < 0) return error;
    if (playback.n_channels > 0 && (error = eh_pcm_open(&card->playback, &playback, why)) < 0) {
        eh_pcm_close(&card->capture);
        return error;
    }
    card->is_linked =
        card->capture.handle && card->playback.handle && snd_pcm_link(card->capture.handle, card->playback.handle) == 0;
    card->is_open = 1;
    return 0;
}

void eh_card_close(eh_card *card) {
    if (card->is_open && card->is_linked) snd_pcm_unlink(card->capture.handle);
    eh_pcm_close(&card->capture);
    eh_pcm_close(&card->playback);
    card->is_open = 0;
}

int eh_card_start(eh_card *card) {
    const eh_card_config *c = &card->config;
    int error = c->n_capture > 0 ? eh_pcm_prepare(&card->capture) : 0;
    if (error == 0 && c->n_playback > 0) error = eh_pcm_prepare(&card->playback);
    memset(card->played, 0, sizeof card->played);
    for (int i = 0; error == 0 && c->n_playback > 0 && i < ahead_periods(c); i++)
        error = eh_pcm_write(&card->playback, card->played, c->timeout_ms);
    if (error == 0 && c->n_playback > 0 && !card->is_linked) error = snd_pcm_start(card->playback.handle);
    if (error == 0 && c->n_capture > 0) error = snd_pcm_start(card->capture.handle);
    return error;
}

int eh_card_restart(eh_card *card, int error) {
    snd_pcm_t *handle = card->config.n_capture > 0 ? card->capture.handle : card->playback.handle;
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; error == -ESTRPIPE && i < MAX_RESUME_TRIES && snd_pcm_resume(handle) == -EAGAIN; i++)
        nanosleep(&pause, NULL);
    return eh_card_start(card);
}

int eh_card_await(eh_card *card, int *late_frames) {
    return eh_pcm_await(&card->playback, card->config.timeout_ms, late_frames);
}

int eh_card_read(eh_card *card, float *in, int *late_frames) {
    const eh_card_config *c = &card->config;
    const int error = eh_pcm_read(&card->capture, card->captured, c->timeout_ms, late_frames);
    if (error < 0) return error;
    for (int n = 0; n < c->period_frames; n++, in += c->n_capture_lanes) {
        const float *frame = card->captured + n * c->n_capture;
        for (int lane = 0; lane < c->n_capture_lanes; lane++)
            in[lane] = c->capture_channel[lane] < 0 ? 0.0f : frame[c->capture_channel[lane]];
    }
    return 0;
}

int eh_card_write(eh_card *card, const float *out) {
    const eh_card_config *c = &card->config;
    for (int n = 0; n < c->period_frames; n++, out += EH_N_OUTPUTS) {
        float *frame = card->played + n * c->n_playback;
        for (int channel = 0; channel < c->n_playback; channel++)
            frame[channel] = c->playback_output[channel] < 0 ? 0.0f : out[c->playback_output[channel]];
    }
    return eh_pcm_write(&card->playback, card->played, c->timeout_ms);
}
