// ALSA plug-in "stiff": a card that offers little and bends for nobody, to be refused by. It never moves a frame.
// With STIFF_IS_BUSY in the environment another program has it.
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <stdlib.h>

enum { N_CAPTURE = 8, N_PLAYBACK = 4, MIN_PERIOD_FRAMES = 32, MAX_PERIOD_FRAMES = 4096, SAMPLE_BYTES = 4 };

static int stiff_start(snd_pcm_ioplug_t *io) {
    (void)io;
    return 0;
}

static snd_pcm_sframes_t stiff_pointer(snd_pcm_ioplug_t *io) {
    (void)io;
    return 0;
}

static int stiff_close(snd_pcm_ioplug_t *io) {
    free(io->private_data);
    return 0;
}

static const snd_pcm_ioplug_callback_t CALLBACKS = {
    .start = stiff_start, .stop = stiff_start, .pointer = stiff_pointer, .close = stiff_close};

SND_PCM_PLUGIN_DEFINE_FUNC(stiff) {
    static const unsigned access[] = {SND_PCM_ACCESS_RW_INTERLEAVED};
    static const unsigned rates_hz[] = {48000, 96000};
    // S32_LE is what both ways have.
    static const unsigned formats[2][2] = {[SND_PCM_STREAM_PLAYBACK] = {SND_PCM_FORMAT_S16_LE, SND_PCM_FORMAT_S32_LE},
                                           [SND_PCM_STREAM_CAPTURE] = {SND_PCM_FORMAT_S24_3LE, SND_PCM_FORMAT_S32_LE}};
    const unsigned n_channels = stream == SND_PCM_STREAM_CAPTURE ? N_CAPTURE : N_PLAYBACK;
    const unsigned frame_bytes = n_channels * SAMPLE_BYTES;
    (void)root;
    (void)conf;
    if (getenv("STIFF_IS_BUSY")) return -EBUSY;
    snd_pcm_ioplug_t *io = calloc(1, sizeof *io);
    if (!io) return -ENOMEM;
    io->version = SND_PCM_IOPLUG_VERSION;
    io->name = "stiff";
    io->callback = &CALLBACKS;
    io->private_data = io;
    io->poll_fd = -1;
    int err = snd_pcm_ioplug_create(io, name, stream, mode);
    if (err < 0) {
        free(io);
        return err;
    }
    snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, access);
    snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 2, formats[stream]);
    snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_RATE, 2, rates_hz);
    snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, n_channels, n_channels);
    snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, MIN_PERIOD_FRAMES * frame_bytes,
                                    MAX_PERIOD_FRAMES * frame_bytes);
    snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 16);
    *pcmp = io->pcm;
    return 0;
}

SND_PCM_PLUGIN_SYMBOL(stiff)
