// One direction of a sound card through ALSA: opened exactly as asked or refused in words, floats in and out.
#pragma once

#include <alsa/asoundlib.h>

#include "live.h"

typedef struct {
    const char *name;  // of ALSA, as "hw:CARD=USB"
    int is_capture;
    int sample_rate_hz, n_channels, period_frames, buffer_frames;
    const int *formats;  // EH_N_FORMATS of eh_sample_format in order of preference
} eh_pcm_spec;

typedef struct {
    snd_pcm_t *handle;
    snd_pcm_format_t format;
    int n_channels, period_frames;
    size_t frame_bytes;
    uint32_t dither_seed;
    _Alignas(64) unsigned char raw[EH_MAX_PERIOD_FRAMES * EH_MAX_CARD_CHANNELS * sizeof(int32_t)];
} eh_pcm;

// Opens the device and sets it up; 0, or a negative errno with why (EH_WHY_BYTES), which names what the device offers
// instead.
int eh_pcm_open(eh_pcm *p, const eh_pcm_spec *spec, char *why);
void eh_pcm_close(eh_pcm *p);
int eh_pcm_prepare(eh_pcm *p);  // drops what is under way

// Waits until the card has moved on by a period. 0 or a negative errno; -ETIMEDOUT when it does not move.
// late_frames: how many frames it had moved on past the end of the period when we came.
int eh_pcm_await(eh_pcm *p, int timeout_ms, int *late_frames);
// One period, (period_frames, n_channels).
int eh_pcm_read(eh_pcm *p, float *frames, int timeout_ms, int *late_frames);
int eh_pcm_write(eh_pcm *p, const float *frames, int timeout_ms);
