// The live mixer: an audio thread on a sound card, an analysis thread, a keeper that brings the card back, and a thread
// for a second card; started and stopped as one. What they say and hear goes through the segment.
#pragma once

#include "record_ring.h"
#include "segment.h"

enum {
    EH_MAX_CARD_CHANNELS = 64,
    EH_MAX_PERIOD_FRAMES = 128,
    EH_N_FORMATS = 3,
};

typedef enum {
    EH_FORMAT_NONE = 0,
    EH_FORMAT_S32 = 1,
    EH_FORMAT_S24_3 = 2,  // packed, three bytes
    EH_FORMAT_S16 = 3,    // dithered on the way out
} eh_sample_format;

typedef struct {
    char capture_pcm[128], playback_pcm[128];  // names of ALSA, as "hw:CARD=USB"
    int sample_rate_hz, period_frames;
    int n_periods;              // that playback runs ahead: all the latency there is beside the limiter's
    int n_capture, n_playback;  // channels of the card
    int formats[3];             // eh_sample_format in order of preference
    int n_capture_lanes;        // of the engine
    int capture_channel[64];    // by engine lane: which channel of the card, from 0; -1 for silence
    int playback_output[64];    // by channel of the card: which engine output, -1 for silence
    int timeout_ms;             // a card that does not move for this long is gone
} eh_card_config;

typedef struct {
    eh_card_config card;  // its clock is the mixer's
    // A card with a clock of its own, at most one; there is none where it neither captures nor plays. A lane is fed by
    // one card only, an output may go to both. It is opened when it is there; start does not wait for it.
    eh_card_config secondary;
    int secondary_slack_ms;                 // how late either thread may be without a gap; it delays its sound
    int tick_frames;                        // an observation each
    int audio_priority, analysis_priority;  // of SCHED_FIFO; 0 for a normal thread. The second card's is one lower
    int audio_core, analysis_core;          // -1 for any
    int waits_for_card;                     // 1: start without a card and take it when it comes
    int is_memory_locked;                   // what eh_lock_memory said, for the status
    int snapshot_timeout_ms;                // how long a first start waits for control's first snapshot
} eh_live_config;

typedef struct eh_live eh_live;

// Keeps every page of the process in memory, now and later. 0 or a negative errno.
int eh_lock_memory(void);
// NULL with why (EH_WHY_BYTES) when the card or the system refuses. record may be NULL. A SIGTERM or SIGINT that the
// caller has blocked ends the wait for the first snapshot.
eh_live *eh_live_start(const eh_live_config *config, eh_segment_hold *hold, eh_record_ring *record, char *why);
// Fades out over 10 ms, lets the card play that, joins the threads and closes the card.
void eh_live_stop(eh_live *live);
