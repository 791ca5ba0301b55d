// Overwrites bytes of a virtual card's file with noise and then uses the card in every way; whatever it answers is
// right.
//
// card_fuzz PCM FILE FIRST_BYTE N_BYTES N_TURNS
// Some turns damage a few bytes, some many. Prints how often the card could be opened and how many transfers went
// through.
#include <alsa/asoundlib.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "card.h"

enum { PERIOD = 64, N_CHANNELS = 2, N_USES = 60 };

static uint64_t state = 88172645463325252u;
static uint64_t noise(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

// Where it hurts: behind the checked geometry, and the heads of the two directions.
static const struct {
    size_t first, n_bytes;
} places[] = {
    {offsetof(eh_card_header, is_manual), offsetof(eh_card_header, plugs) - offsetof(eh_card_header, is_manual) + 128},
    {offsetof(eh_card_header, fed_frame), 64},
    {offsetof(eh_card_header, direction[0]), offsetof(eh_card_direction, schedule) + 64},
    {offsetof(eh_card_header, direction[1]), offsetof(eh_card_direction, schedule) + 64},
    {offsetof(eh_card_header, is_manual), sizeof(eh_card_header) - offsetof(eh_card_header, is_manual)},
};

static void damage(int fd, int is_total) {
    const int n_words = is_total ? 1000 : 8;
    for (int i = 0; i < n_words; i++) {
        // Numbers near the edges of what they may be hurt more than just any.
        static const int64_t edges[] = {0, 1, -1, 2, INT64_MAX, INT64_MIN, INT32_MAX, INT32_MIN};
        const int64_t word = noise() % 3 ? edges[noise() % 8] : (int64_t)noise();
        const size_t place = noise() % (sizeof places / sizeof *places), width = noise() % 2 ? 8 : 4;
        const size_t at = places[place].first + noise() % places[place].n_bytes;
        if (pwrite(fd, &word, width, (off_t)(at / width * width)) < 0) exit(3);
    }
}

static int set_up(snd_pcm_t **pcm, const char *name, snd_pcm_stream_t stream) {
    if (snd_pcm_open(pcm, name, stream, SND_PCM_NONBLOCK) < 0) return 0;
    if (snd_pcm_set_params(*pcm, SND_PCM_FORMAT_S32_LE, SND_PCM_ACCESS_RW_INTERLEAVED, N_CHANNELS, 48000, 0, 10000) ==
        0)
        return 1;
    snd_pcm_close(*pcm);
    return 0;
}

static long use(snd_pcm_t *pcm, snd_pcm_stream_t stream) {
    static int32_t frames[PERIOD * N_CHANNELS];
    struct pollfd fds[4];
    unsigned short events;
    snd_pcm_sframes_t n = 0, delay;
    switch (noise() % 8) {
        case 0:
            snd_pcm_start(pcm);
            break;
        case 1:
            snd_pcm_avail(pcm);
            break;
        case 2:
            snd_pcm_delay(pcm, &delay);
            break;
        case 3:
            snd_pcm_wait(pcm, 0);
            break;
        case 4:
            n = snd_pcm_poll_descriptors(pcm, fds, 4);
            if (n > 0) snd_pcm_poll_descriptors_revents(pcm, fds, (unsigned)n, &events);
            n = 0;
            break;
        case 5:
            if (noise() % 4 == 0) snd_pcm_drop(pcm);
            if (noise() % 4 == 0) snd_pcm_prepare(pcm);
            if (noise() % 4 == 0) snd_pcm_drain(pcm);
            break;
        default:
            n = stream == SND_PCM_STREAM_CAPTURE ? snd_pcm_readi(pcm, frames, PERIOD)
                                                 : snd_pcm_writei(pcm, frames, PERIOD);
    }
    return n > 0;
}

int main(int argc, char **argv) {
    static eh_card_header original;
    if (argc != 4) return 2;
    const int fd = open(argv[2], O_RDWR), n_turns = atoi(argv[3]);
    long n_opened = 0, n_transferred = 0;
    if (fd < 0 || pread(fd, &original, sizeof original, 0) != sizeof original) return 2;
    for (int turn = 0; turn < n_turns; turn++) {
        snd_pcm_t *pcm[2];
        int is_open[2];
        if (turn % 2) damage(fd, turn % 4 == 3);
        for (int s = 0; s < 2; s++) n_opened += is_open[s] = set_up(&pcm[s], argv[1], (snd_pcm_stream_t)s);
        for (int i = 0; i < N_USES; i++) {
            if (i % 10 == 9) damage(fd, 0);
            for (int s = 0; s < 2; s++)
                if (is_open[s]) n_transferred += use(pcm[s], (snd_pcm_stream_t)s);
        }
        for (int s = 0; s < 2; s++)
            if (is_open[s]) snd_pcm_close(pcm[s]);
        if (pwrite(fd, &original, sizeof original, 0) < 0) return 3;
    }
    printf("%ld %ld\n", n_opened, n_transferred);
    return 0;
}
