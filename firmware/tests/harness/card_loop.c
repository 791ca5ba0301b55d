// A blocking full-duplex program as the engine is one: reads a period, plays its first channels, recovers and goes on.
//
// card_loop PCM FORMAT RATE CAPTURE_CHANNELS PLAYBACK_CHANNELS PERIOD_FRAMES N_PERIODS MAX_PERIODS
// Plays N_PERIODS of silence before the first period. Ends after MAX_PERIODS with one line: periods, recoveries, error.
#include <alsa/asoundlib.h>
#include <stdlib.h>

enum { MAX_FAILURES_IN_A_ROW = 5 };

static struct {
    const char *name;
    snd_pcm_format_t format;
    unsigned rate_hz, n_channels[2], period, n_periods;
} wanted;

static int open_one(snd_pcm_t **pcm, snd_pcm_stream_t stream) {
    snd_pcm_hw_params_t *hw;
    snd_pcm_sw_params_t *sw;
    snd_pcm_uframes_t boundary;
    snd_pcm_hw_params_alloca(&hw);
    snd_pcm_sw_params_alloca(&sw);
    int error = snd_pcm_open(pcm, wanted.name, stream, 0);
    if (error < 0) return error;
    snd_pcm_t *p = *pcm;
    snd_pcm_hw_params_any(p, hw);
    error = snd_pcm_hw_params_set_access(p, hw, SND_PCM_ACCESS_RW_INTERLEAVED);
    if (!error) error = snd_pcm_hw_params_set_format(p, hw, wanted.format);
    if (!error) error = snd_pcm_hw_params_set_channels(p, hw, wanted.n_channels[stream == SND_PCM_STREAM_PLAYBACK]);
    if (!error) error = snd_pcm_hw_params_set_rate(p, hw, wanted.rate_hz, 0);
    if (!error) error = snd_pcm_hw_params_set_period_size(p, hw, wanted.period, 0);
    if (!error) error = snd_pcm_hw_params_set_buffer_size(p, hw, 4 * wanted.n_periods * wanted.period);
    if (!error) error = snd_pcm_hw_params(p, hw);
    if (!error) error = snd_pcm_sw_params_current(p, sw);
    if (!error) error = snd_pcm_sw_params_get_boundary(sw, &boundary);
    if (!error) error = snd_pcm_sw_params_set_start_threshold(p, sw, boundary);
    if (!error) error = snd_pcm_sw_params(p, sw);
    return error;
}

static int start(snd_pcm_t *capture, snd_pcm_t *playback, const char *silence) {
    snd_pcm_drop(capture);
    snd_pcm_drop(playback);
    int error = snd_pcm_prepare(capture);
    if (!error) error = snd_pcm_prepare(playback);
    for (unsigned i = 0; !error && i < wanted.n_periods; i++) {
        const snd_pcm_sframes_t n = snd_pcm_writei(playback, silence, wanted.period);
        if (n < 0) error = (int)n;
    }
    if (!error) error = snd_pcm_start(playback);
    if (!error) error = snd_pcm_start(capture);
    return error;
}

static int move_all(snd_pcm_t *pcm, char *frames, int writes) {
    for (snd_pcm_uframes_t done = 0; done < wanted.period;) {
        char *at = frames + snd_pcm_frames_to_bytes(pcm, (snd_pcm_sframes_t)done);
        const snd_pcm_sframes_t n =
            writes ? snd_pcm_writei(pcm, at, wanted.period - done) : snd_pcm_readi(pcm, at, wanted.period - done);
        if (n < 0) return (int)n;
        done += (snd_pcm_uframes_t)n;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 9) return 2;
    wanted.name = argv[1];
    wanted.format = snd_pcm_format_value(argv[2]);
    wanted.rate_hz = (unsigned)atoi(argv[3]);
    wanted.n_channels[0] = (unsigned)atoi(argv[4]);
    wanted.n_channels[1] = (unsigned)atoi(argv[5]);
    wanted.period = (unsigned)atoi(argv[6]);
    wanted.n_periods = (unsigned)atoi(argv[7]);
    const long max_periods = atol(argv[8]);
    const size_t sample = (size_t)snd_pcm_format_physical_width(wanted.format) / 8;
    const size_t in_bytes = sample * wanted.n_channels[0], out_bytes = sample * wanted.n_channels[1];
    const size_t shared_bytes = in_bytes < out_bytes ? in_bytes : out_bytes;
    char *in = calloc(wanted.period, in_bytes), *out = calloc(wanted.period, out_bytes);
    char *silence = calloc(wanted.period, out_bytes);
    snd_pcm_t *capture = NULL, *playback = NULL;
    int error = open_one(&capture, SND_PCM_STREAM_CAPTURE);
    if (!error) error = open_one(&playback, SND_PCM_STREAM_PLAYBACK);
    if (!error) error = start(capture, playback, silence);
    long periods = 0, recoveries = 0;
    for (int failures = 0; !error && periods < max_periods;) {
        int failed = move_all(capture, in, 0);
        for (size_t i = 0; i < wanted.period; i++) memcpy(out + i * out_bytes, in + i * in_bytes, shared_bytes);
        if (!failed) failed = move_all(playback, out, 1);
        if (!failed) {
            periods++;
            failures = 0;
            continue;
        }
        recoveries++;
        error = ++failures < MAX_FAILURES_IN_A_ROW ? start(capture, playback, silence) : failed;
    }
    if (capture) snd_pcm_close(capture);
    if (playback) snd_pcm_close(playback);
    snd_config_update_free_global();
    free(in);
    free(out);
    free(silence);
    printf("%ld %ld %d\n", periods, recoveries, error);
    return 0;
}
