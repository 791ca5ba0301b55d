// What a world keeps beside the shared file.
#pragma once

#include <pthread.h>

#include "card.h"
#include "world.h"

struct eh_world {
    eh_card card;
    pthread_mutex_t mutex;
    int fd;
    char path[EH_CARD_MAX_PATH];
    int has_tape, has_recorder, sample_rate_hz;
    double ppm;
    int64_t anchor_frame, anchor_ns, rate_uhz, limit_frame;  // the newest clock line
    int64_t n_waits, waited_frames;
    int64_t last_scheduled_frame[EH_CARD_DIRECTIONS];
};

int64_t eh_world_rate_uhz(int sample_rate_hz, double ppm);
int64_t eh_world_limit_frame(const eh_world *w);
void eh_world_publish_clock(eh_world *w);
