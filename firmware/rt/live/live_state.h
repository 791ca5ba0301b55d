// Inside of the live mixer, shared by its own files only.
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "card.h"
#include "engine_threads.h"
#include "record_ring.h"
#include "secondary_card.h"
#include "segment_layout.h"

enum {
    EH_N_TICKS = 16,  // 320 ms that analysis may come late
    EH_N_THREADS = 4,
};

// What the audio thread reads off the engine at the end of a tick; analysis adds the features up to the same frame.
typedef struct {
    uint64_t frame, time_ns;
    size_t tap_position;
    eh_loudness_reading loudness;
    eh_bus_meters buses[EH_N_OUTPUTS];
    eh_channel_meters channels[EH_N_CHANNEL];
} eh_tick;

typedef enum {
    CARD_WITH_KEEPER,  // closed, to be opened
    CARD_READY,        // open, the audio thread may start it
    CARD_WITH_AUDIO,
} card_owner;

struct eh_live {
    eh_live_config config;
    eh_engine_config mixer;
    eh_segment *segment;
    void *arena;
    eh_engine *engine;
    eh_record_ring *record;
    eh_secondary_card *secondary;  // NULL for none

    eh_card card;
    atomic_int card_owner;
    sem_t card_lost;
    atomic_int is_stopping;           // audio fades out and ends
    atomic_int is_done;               // keeper and analysis end
    pthread_t threads[EH_N_THREADS];  // in the order in which they were started
    int n_threads;

    // Audio thread only.
    uint64_t frame;
    int tick_at;  // frames into the tick
    int fade_at;  // frames of the fade that are open; all of them: no fade
    int n_fade_frames;
    uint64_t last_good_ns, next_silent_ns;
    uint64_t edge_ns;  // when the last period ended, as far as the wake-ups show; 0 for not known
    int probe_lane, probe_age, probe_peak_at;  // frames since the last click, and when it was heard loudest
    float probe_peak_lin;
    eh_engine_stats told;  // counters as they were last told
    _Alignas(64) float in[EH_MAX_PERIOD_FRAMES * EH_MAX_CAPTURE_LANES];
    _Alignas(64) float out[EH_MAX_PERIOD_FRAMES * EH_N_OUTPUTS];

    eh_ring_ends ticks;
    eh_tick tick[EH_N_TICKS];
    sem_t ticks_ready;
    eh_observation observation;  // analysis thread only
};

void *eh_audio_main(void *live);
void *eh_analysis_main(void *live);
void *eh_keeper_main(void *live);
