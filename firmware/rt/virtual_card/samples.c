// Copies samples between interleaved int32 and ALSA areas. Little-endian on both sides.
#include "samples.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the formats are little-endian, and so is every board"
#endif

static char *sample_at(const snd_pcm_channel_area_t *area, snd_pcm_uframes_t frame) {
    return (char *)area->addr + area->first / 8 + frame * (area->step / 8);
}

// Whether the program's frames lie as the card's do: interleaved, all channels, int32.
static int is_same_layout(const eh_samples *s, const snd_pcm_channel_area_t *areas) {
    if (s->sample_bytes != sizeof(int32_t) || s->n_channels != s->n_card_channels) return 0;
    for (int ch = 0; ch < s->n_channels; ch++)
        if (areas[ch].addr != areas[0].addr || areas[ch].first != 32u * (unsigned)ch ||
            areas[ch].step != 32u * (unsigned)s->n_channels)
            return 0;
    return 1;
}

void eh_samples_out(const eh_samples *s, const int32_t *frames, const snd_pcm_channel_area_t *areas,
                    snd_pcm_uframes_t offset, snd_pcm_uframes_t n_frames) {
    const size_t n = (size_t)s->n_card_channels, bytes = (size_t)s->sample_bytes, dropped = sizeof(int32_t) - bytes;
    if (frames && is_same_layout(s, areas)) {
        memcpy(sample_at(areas, offset), frames, n_frames * n * sizeof *frames);
        return;
    }
    for (size_t ch = 0; ch < (size_t)s->n_channels; ch++) {
        char *out = sample_at(&areas[ch], offset);
        const size_t step = areas[ch].step / 8;
        if (!frames)
            for (size_t i = 0; i < n_frames; i++) memset(out + i * step, 0, bytes);
        else
            for (size_t i = 0; i < n_frames; i++)
                memcpy(out + i * step, (const char *)&frames[i * n + ch] + dropped, bytes);
    }
}

void eh_samples_in(const eh_samples *s, int32_t *frames, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset,
                   snd_pcm_uframes_t n_frames) {
    const size_t n = (size_t)s->n_card_channels, bytes = (size_t)s->sample_bytes, added = sizeof(int32_t) - bytes;
    if (is_same_layout(s, areas)) {
        memcpy(frames, sample_at(areas, offset), n_frames * n * sizeof *frames);
        return;
    }
    memset(frames, 0, n_frames * n * sizeof *frames);
    for (size_t ch = 0; ch < (size_t)s->n_channels; ch++) {
        const char *in = sample_at(&areas[ch], offset);
        const size_t step = areas[ch].step / 8;
        for (size_t i = 0; i < n_frames; i++) {
            int32_t sample = 0;
            memcpy((char *)&sample + added, in + i * step, bytes);
            frames[i * n + ch] = sample;
        }
    }
}
