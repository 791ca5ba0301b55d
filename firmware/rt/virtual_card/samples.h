// The card's int32 frames to and from the format and the memory layout that a program opened it with.
#pragma once

#include <alsa/asoundlib.h>
#include <stdint.h>

typedef struct {
    int n_channels, n_card_channels;  // the program's; the card's, not fewer: the others stay silent
    int sample_bytes;                 // 2, 3 or 4: the highest bytes of an int32, nothing is rounded
} eh_samples;

// frames == NULL is silence.
void eh_samples_out(const eh_samples *s, const int32_t *frames, const snd_pcm_channel_area_t *areas,
                    snd_pcm_uframes_t offset, snd_pcm_uframes_t n_frames);
void eh_samples_in(const eh_samples *s, int32_t *frames, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset,
                   snd_pcm_uframes_t n_frames);
