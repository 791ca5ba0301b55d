// A second card's thread beside one that mixes, for the thread sanitizer; the card is a real one of ALSA, and may be
// pulled out meanwhile. Says what it counted.
#include "live/secondary_card.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_LANES = 3, PERIOD_FRAMES = 96, PERIOD_NS = 2000000 };

// Of the engine, which is not linked: nobody opens a segment's file here.
size_t eh_engine_size_bytes(const eh_engine_config *config) { return config != NULL; }
const char *eh_contract_id(void) { return ""; }

static eh_card_config card_of(const char *pcm, int n_channels) {
    eh_card_config card = {.sample_rate_hz = 48000,
                           .period_frames = PERIOD_FRAMES,
                           .n_periods = 4,
                           .n_capture = n_channels,
                           .n_playback = n_channels,
                           .formats = {EH_FORMAT_S32},
                           .n_capture_lanes = N_LANES,
                           .timeout_ms = 500};
    snprintf(card.capture_pcm, sizeof card.capture_pcm, "%s", pcm);
    snprintf(card.playback_pcm, sizeof card.playback_pcm, "%s", pcm);
    for (int i = 0; i < EH_MAX_CARD_CHANNELS; i++) card.capture_channel[i] = card.playback_output[i] = -1;
    return card;
}

static void sleep_until(struct timespec *time) {
    time->tv_nsec += PERIOD_NS;
    if (time->tv_nsec >= 1000000000L) time->tv_sec++, time->tv_nsec -= 1000000000L;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, time, NULL);
}

// The audio thread; returns in how many periods it heard the card.
static int mix(eh_secondary_card *c, int n_periods) {
    static float in[PERIOD_FRAMES * N_LANES], out[PERIOD_FRAMES * EH_N_OUTPUTS];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int n_heard = 0;
    for (int i = 0; i < n_periods; i++) {
        sleep_until(&now);
        const int64_t edge_ns = now.tv_sec * 1000000000LL + now.tv_nsec;
        if (i % 500 == 499) eh_secondary_card_lost_frames(c);
        eh_secondary_card_take(c, in, edge_ns);
        for (int n = 0; n < PERIOD_FRAMES; n++) out[n * EH_N_OUTPUTS] = in[n * N_LANES + 1];
        eh_secondary_card_give(c, out, edge_ns);
        if (i % 10 == 9) eh_secondary_card_tell(c, (uint64_t)i * PERIOD_FRAMES);
        n_heard += in[1] != 0.0f;
    }
    return n_heard;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    eh_live_config config = {.card = card_of("", 2), .secondary = card_of(argv[1], 1), .secondary_slack_ms = 40};
    config.secondary.capture_channel[1] = 0;
    config.secondary.playback_output[0] = 0;
    eh_segment *segment = aligned_alloc(64, sizeof *segment);
    char why[EH_WHY_BYTES] = "no memory";
    if (segment) memset(segment, 0, sizeof *segment);
    eh_secondary_card *c = segment ? eh_secondary_card_make(&config, segment, why) : NULL;
    pthread_t thread;
    if (!c || pthread_create(&thread, NULL, eh_secondary_card_main, c) != 0) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    const int n_heard = mix(c, atoi(argv[2]));
    eh_secondary_card_end(c);
    pthread_join(thread, NULL);
    eh_secondary_card_free(c);
    printf("heard %d, losses %llu, returns %llu\n", n_heard,
           (unsigned long long)atomic_load(&segment->counter[EH_COUNT_SECONDARY_LOSSES]),
           (unsigned long long)atomic_load(&segment->counter[EH_COUNT_SECONDARY_RETURNS]));
    free(segment);
    return 0;
}
