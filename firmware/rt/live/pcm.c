// Hardware parameters without rounding, periods without blocking for ever.
#include "pcm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "evenhand/convert.h"

// A device that says "ready" and has nothing this many times in a row is gone, whatever it reports.
enum { MAX_IDLE_WAKES = 16 };

static const unsigned RATES_HZ[] = {16000, 32000, 44100, 48000, 88200, 96000, 176400, 192000};

// ---------------------------------------------------------------------------------------------------------- open

__attribute__((format(printf, 4, 5))) static int refuse(const eh_pcm_spec *spec, int error, char *why,
                                                        const char *format, ...) {
    const int n = snprintf(why, EH_WHY_BYTES, "%s (%s): ", spec->name, spec->is_capture ? "capture" : "playback");
    va_list arguments;
    va_start(arguments, format);
    if (n > 0 && n < EH_WHY_BYTES) vsnprintf(why + n, (size_t)(EH_WHY_BYTES - n), format, arguments);
    va_end(arguments);
    return error < 0 ? error : -EINVAL;
}

static void list_rates(snd_pcm_t *handle, snd_pcm_hw_params_t *hw, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof RATES_HZ / sizeof RATES_HZ[0]; i++)
        if (snd_pcm_hw_params_test_rate(handle, hw, RATES_HZ[i], 0) == 0 && at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%u", at ? ", " : "", RATES_HZ[i]);
    if (at == 0) snprintf(text, size, "none that we know");
}

static snd_pcm_format_t alsa_format(int sample_format) {
    switch (sample_format) {
        case EH_FORMAT_S32:
            return SND_PCM_FORMAT_S32_LE;
        case EH_FORMAT_S24_3:
            return SND_PCM_FORMAT_S24_3LE;
        case EH_FORMAT_S16:
            return SND_PCM_FORMAT_S16_LE;
        default:
            return SND_PCM_FORMAT_UNKNOWN;
    }
}

static int set_format(eh_pcm *p, const eh_pcm_spec *spec, snd_pcm_hw_params_t *hw, char *why) {
    for (int i = 0; i < EH_N_FORMATS; i++) {
        const snd_pcm_format_t format = alsa_format(spec->formats[i]);
        if (format == SND_PCM_FORMAT_UNKNOWN) continue;
        if (snd_pcm_hw_params_set_format(p->handle, hw, format) != 0) continue;
        p->format = format;
        p->frame_bytes = (size_t)spec->n_channels * (size_t)(snd_pcm_format_physical_width(format) / 8);
        return 0;
    }
    char offered[128] = "";
    for (int f = 0; f <= SND_PCM_FORMAT_LAST; f++) {
        const char *name = snd_pcm_format_name((snd_pcm_format_t)f);
        const size_t n = strlen(offered);
        if (name && snd_pcm_hw_params_test_format(p->handle, hw, (snd_pcm_format_t)f) == 0)
            snprintf(offered + n, sizeof offered - n, "%s%s", n ? ", " : "", name);
    }
    return refuse(spec, 0, why, "offers no sample format of the board; it offers %s", offered);
}

static int set_hardware(eh_pcm *p, const eh_pcm_spec *spec, char *why) {
    snd_pcm_hw_params_t *hw;
    snd_pcm_hw_params_alloca(&hw);
    int error = snd_pcm_hw_params_any(p->handle, hw);
    if (error < 0) return refuse(spec, error, why, "%s", snd_strerror(error));
    if ((error = snd_pcm_hw_params_set_access(p->handle, hw, SND_PCM_ACCESS_RW_INTERLEAVED)) < 0)
        return refuse(spec, error, why, "offers no interleaved frames");
    snd_pcm_hw_params_set_rate_resample(p->handle, hw, 0);
    if ((error = set_format(p, spec, hw, why)) < 0) return error;
    if ((error = snd_pcm_hw_params_set_channels(p->handle, hw, (unsigned)spec->n_channels)) < 0) {
        unsigned least = 0, most = 0;
        snd_pcm_hw_params_get_channels_min(hw, &least);
        snd_pcm_hw_params_get_channels_max(hw, &most);
        return refuse(spec, error, why, "does not have %d channels; it has %u to %u", spec->n_channels, least, most);
    }
    if ((error = snd_pcm_hw_params_set_rate(p->handle, hw, (unsigned)spec->sample_rate_hz, 0)) < 0) {
        char rates[96];
        list_rates(p->handle, hw, rates, sizeof rates);
        return refuse(spec, error, why, "does not run at %d Hz; it offers %s", spec->sample_rate_hz, rates);
    }
    int direction = 0;
    if ((error = snd_pcm_hw_params_set_period_size(p->handle, hw, (snd_pcm_uframes_t)spec->period_frames, 0)) < 0) {
        snd_pcm_uframes_t least = 0, most = 0;
        snd_pcm_hw_params_get_period_size_min(hw, &least, &direction);
        snd_pcm_hw_params_get_period_size_max(hw, &most, &direction);
        return refuse(spec, error, why, "has no periods of %d frames; it has %lu to %lu", spec->period_frames, least,
                      most);
    }
    if ((error = snd_pcm_hw_params_set_buffer_size(p->handle, hw, (snd_pcm_uframes_t)spec->buffer_frames)) < 0) {
        snd_pcm_uframes_t least = 0, most = 0;
        snd_pcm_hw_params_get_buffer_size_min(hw, &least);
        snd_pcm_hw_params_get_buffer_size_max(hw, &most);
        return refuse(spec, error, why, "has no buffer of %d frames; it has %lu to %lu", spec->buffer_frames, least,
                      most);
    }
    if ((error = snd_pcm_hw_params(p->handle, hw)) < 0)
        return refuse(spec, error, why, "refused the set-up: %s", snd_strerror(error));
    return 0;
}

// Starts only when told to, and wakes us once a period.
static int set_software(eh_pcm *p, const eh_pcm_spec *spec, char *why) {
    snd_pcm_sw_params_t *sw;
    snd_pcm_sw_params_alloca(&sw);
    snd_pcm_uframes_t boundary = 0;
    int error = snd_pcm_sw_params_current(p->handle, sw);
    if (error == 0) error = snd_pcm_sw_params_get_boundary(sw, &boundary);
    if (error == 0) error = snd_pcm_sw_params_set_start_threshold(p->handle, sw, boundary);
    if (error == 0) error = snd_pcm_sw_params_set_avail_min(p->handle, sw, (snd_pcm_uframes_t)spec->period_frames);
    if (error == 0) error = snd_pcm_sw_params(p->handle, sw);
    return error < 0 ? refuse(spec, error, why, "%s", snd_strerror(error)) : 0;
}

int eh_pcm_open(eh_pcm *p, const eh_pcm_spec *spec, char *why) {
    memset(p, 0, offsetof(eh_pcm, raw));
    why[0] = '\0';
    if (spec->n_channels < 1 || spec->n_channels > EH_MAX_CARD_CHANNELS || spec->period_frames < 1 ||
        spec->period_frames > EH_MAX_PERIOD_FRAMES)
        return refuse(spec, 0, why, "%d channels in periods of %d frames are outside 1 to %d and 1 to %d",
                      spec->n_channels, spec->period_frames, EH_MAX_CARD_CHANNELS, EH_MAX_PERIOD_FRAMES);
    const snd_pcm_stream_t stream = spec->is_capture ? SND_PCM_STREAM_CAPTURE : SND_PCM_STREAM_PLAYBACK;
    int error =
        snd_pcm_open(&p->handle, spec->name, stream,
                     SND_PCM_NONBLOCK | SND_PCM_NO_AUTO_RESAMPLE | SND_PCM_NO_AUTO_CHANNELS | SND_PCM_NO_AUTO_FORMAT);
    if (error < 0) {
        p->handle = NULL;
        return refuse(spec, error, why, "cannot be opened: %s",
                      error == -EBUSY ? "another program uses it" : snd_strerror(error));
    }
    p->n_channels = spec->n_channels;
    p->period_frames = spec->period_frames;
    p->dither_seed = 1;
    if ((error = set_hardware(p, spec, why)) < 0 || (error = set_software(p, spec, why)) < 0) eh_pcm_close(p);
    return error;
}

void eh_pcm_close(eh_pcm *p) {
    if (p->handle) snd_pcm_close(p->handle);
    p->handle = NULL;
}

int eh_pcm_prepare(eh_pcm *p) {
    snd_pcm_drop(p->handle);  // fails in states that need none
    return snd_pcm_prepare(p->handle);
}

// ------------------------------------------------------------------------------------------------------- periods

static void to_floats(eh_pcm *p, float *frames) {
    const size_t n = (size_t)p->period_frames * (size_t)p->n_channels;
    switch (p->format) {
        case SND_PCM_FORMAT_S32_LE:
            eh_convert_from_s32((const int32_t *)(const void *)p->raw, frames, n);
            break;
        case SND_PCM_FORMAT_S24_3LE:
            eh_convert_from_s24_3(p->raw, frames, n);
            break;
        default:
            eh_convert_from_s16((const int16_t *)(const void *)p->raw, frames, n);
            break;
    }
}

static void from_floats(eh_pcm *p, const float *frames) {
    const size_t n = (size_t)p->period_frames * (size_t)p->n_channels;
    switch (p->format) {
        case SND_PCM_FORMAT_S32_LE:
            eh_convert_to_s32(frames, (int32_t *)(void *)p->raw, n);
            break;
        case SND_PCM_FORMAT_S24_3LE:
            eh_convert_to_s24_3(frames, p->raw, n);
            break;
        default:
            eh_convert_to_s16(frames, (int16_t *)(void *)p->raw, n, &p->dither_seed);
            break;
    }
}

typedef snd_pcm_sframes_t (*transfer)(snd_pcm_t *, unsigned char *, snd_pcm_uframes_t);

static snd_pcm_sframes_t read_some(snd_pcm_t *handle, unsigned char *raw, snd_pcm_uframes_t n) {
    return snd_pcm_readi(handle, raw, n);
}

static snd_pcm_sframes_t write_some(snd_pcm_t *handle, unsigned char *raw, snd_pcm_uframes_t n) {
    return snd_pcm_writei(handle, raw, n);
}

// Moves one whole period, however many turns the device makes of it.
static int move_period(eh_pcm *p, transfer move, int timeout_ms) {
    size_t n_moved = 0;
    for (int n_idle = 0; n_moved < (size_t)p->period_frames;) {
        const snd_pcm_sframes_t n =
            move(p->handle, p->raw + n_moved * p->frame_bytes, (snd_pcm_uframes_t)p->period_frames - n_moved);
        if (n > 0) {
            n_moved += (size_t)n;
            n_idle = 0;
            continue;
        }
        if (n < 0 && n != -EAGAIN) return (int)n;
        if (++n_idle > MAX_IDLE_WAKES) return -EIO;
        const int ready = snd_pcm_wait(p->handle, timeout_ms);
        if (ready <= 0) return ready < 0 ? ready : -ETIMEDOUT;
    }
    return 0;
}

int eh_pcm_await(eh_pcm *p, int timeout_ms, int *late_frames) {
    snd_pcm_sframes_t available = snd_pcm_avail_update(p->handle);
    for (int n_idle = 0; available >= 0 && available < p->period_frames; n_idle++) {
        if (n_idle > MAX_IDLE_WAKES) return -EIO;
        const int ready = snd_pcm_wait(p->handle, timeout_ms);
        if (ready <= 0) return ready < 0 ? ready : -ETIMEDOUT;
        available = snd_pcm_avail_update(p->handle);
    }
    if (available < 0) return (int)available;
    *late_frames = (int)available - p->period_frames;
    return 0;
}

int eh_pcm_read(eh_pcm *p, float *frames, int timeout_ms, int *late_frames) {
    int error = eh_pcm_await(p, timeout_ms, late_frames);
    if (error == 0) error = move_period(p, read_some, timeout_ms);
    if (error == 0) to_floats(p, frames);
    return error;
}

int eh_pcm_write(eh_pcm *p, const float *frames, int timeout_ms) {
    from_floats(p, frames);
    return move_period(p, write_some, timeout_ms);
}
