// Opens the capture side of a PCM, prepares it, says so, and does nothing more until it is killed.
#include <alsa/asoundlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    snd_pcm_t *pcm;
    if (argc != 2 || snd_pcm_open(&pcm, argv[1], SND_PCM_STREAM_CAPTURE, 0) < 0) return 2;
    if (snd_pcm_set_params(pcm, SND_PCM_FORMAT_S32_LE, SND_PCM_ACCESS_RW_INTERLEAVED, 2, 48000, 0, 100000) < 0)
        return 2;
    puts("prepared");
    fflush(stdout);
    for (;;) pause();
}
