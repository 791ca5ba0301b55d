// The shared memory between the engine process and everybody else: one file, laid out by the contract, stamped with
// its version and contract id. Parameters go down as whole snapshots; observations and events come up through rings;
// a snapshot of the latest observation is there for whoever looks; each side shows a heartbeat.
//
// Sides: ENGINE creates the file, or takes over the one of its predecessor; CONTROL is one process at a time; VIEWER
// only reads. Each may be killed at any moment and come back. Nothing that is read from the file is trusted: indices
// are bounded, parameters are clamped by the engine.
#pragma once

#include "engine.h"

enum {
    EH_SEGMENT_VERSION = 3,
    EH_N_OBSERVATIONS = 64,  // 1.3 s of ticks
    EH_N_EVENTS = 1024,
    EH_N_NOTEBOOKS = 3,
    EH_NOTEBOOK_BYTES = 1 << 19,
    EH_N_WAKE_BUCKETS = 64,  // four an octave from 1 us on
    EH_WHY_BYTES = 256,
    EH_N_PROBES = 16,  // ways that are kept
};

typedef enum { EH_SIDE_ENGINE, EH_SIDE_CONTROL, EH_SIDE_VIEWER } eh_segment_side;

// What control sees of the engine, once a tick.
typedef struct {
    uint64_t frame;    // of the mixer, at the end of the tick
    uint64_t time_ns;  // CLOCK_MONOTONIC when the audio thread read the meters
    eh_loudness_reading loudness;
    eh_bus_meters buses[12];
    eh_channel_meters channels[32];
    eh_channel_features features[32];
    eh_mix_features mix;
} eh_observation;

typedef enum {
    EH_EVENT_STARTED = 1,    // value: 1 after a predecessor
    EH_EVENT_XRUN = 2,       // value: frames lost, as far as the clock tells
    EH_EVENT_CARD_LOST = 3,  // value: the last error of the card
    EH_EVENT_CARD_BACK = 4,  // value: frames without it
    EH_EVENT_HEALED = 5,     // value: lanes that were not finite and began anew
    EH_EVENT_STOPPED = 6,
    EH_EVENT_SECONDARY_LOST = 7,  // value: the last error of the second card
    EH_EVENT_SECONDARY_BACK = 8,
} eh_event_kind;

typedef struct {
    uint64_t frame, time_ns;
    int64_t value;
    int32_t index;
    uint32_t kind;  // eh_event_kind
} eh_event;

typedef enum {
    EH_STATE_STARTING = 0,
    EH_STATE_RUNNING = 1,
    EH_STATE_NO_CARD = 2,  // on silence and its own clock
    EH_STATE_STOPPED = 3,
} eh_live_state;

typedef enum {
    EH_COUNT_FRAMES,
    EH_COUNT_PERIODS,       // served
    EH_COUNT_PERIODS_LOST,  // that the card played without us
    EH_COUNT_XRUNS,
    EH_COUNT_CARD_LOSSES,
    EH_COUNT_CARD_RETURNS,
    EH_COUNT_OBSERVATIONS_DROPPED,
    EH_COUNT_EVENTS_DROPPED,
    EH_COUNT_TAPS_DROPPED,
    EH_COUNT_HEALED,
    EH_COUNT_CLAMPED,
    EH_COUNT_SNAPSHOTS,
    EH_COUNT_SECONDARY_GAPS,  // times that sound to or from the second card was interrupted
    EH_COUNT_ENGINE_STARTS,
    EH_COUNT_CONTROL_STARTS,
    EH_COUNT_SECONDARY_XRUNS,
    EH_COUNT_SECONDARY_LOSSES,
    EH_COUNT_SECONDARY_RETURNS,
    EH_N_COUNTERS,
} eh_counter;

// All that a status page shows; read by eh_segment_status.
typedef struct {
    uint64_t counter[32];      // by eh_counter
    uint64_t engine_beat_ns;   // CLOCK_MONOTONIC of the last period
    uint64_t control_beat_ns;  // of the last tick that control finished
    uint64_t control_frame;    // the frame of that tick
    uint64_t last_frame;       // of the mixer, at the end of its last tick
    uint32_t wake_us[64];      // by bucket: how long after the edge of a period the audio thread ran
    uint32_t service_us[64];   // and how long until its sound was written
    int32_t engine_pid, control_pid;
    int32_t state;  // eh_live_state
    int32_t is_realtime, is_locked;
    int32_t round_trip_frames;    // from the card's input to its output, mixer included
    int32_t secondary_state;      // eh_live_state; STARTING where there is no second card
    int32_t secondary_ppm_x1000;  // by which the second card's clock is faster than the mixer's, as learned so far
    char trouble[256];            // why there is no card, in words; empty when all is well
    char secondary_trouble[256];  // likewise of the second card
} eh_live_status;

typedef struct eh_segment eh_segment;
// A process's hold on a segment.
typedef struct {
    eh_segment *segment;
    int fd;
    int side;         // eh_segment_side
    int is_resumed;   // engine: a predecessor's state was found
    int is_replaced;  // engine: a stale or foreign file was put aside; why says what was wrong with it
    char why[256];
    eh_engine_config mixer;  // as it was when it was checked
} eh_segment_hold;

typedef enum {
    EH_HOLD_OK = 0,
    EH_HOLD_ABSENT = 1,   // no such file: the engine has not started yet
    EH_HOLD_FOREIGN = 2,  // of another version, contract or size
    EH_HOLD_TAKEN = 3,    // that side is held by a live process
    EH_HOLD_FAILED = 4,   // the system refused; why says it
} eh_hold_status;

// config: the engine's own, or NULL for the other sides, which take it from the file.
eh_hold_status eh_segment_open(eh_segment_hold *hold, const char *path, eh_segment_side side,
                               const eh_engine_config *config);
void eh_segment_close(eh_segment_hold *hold);
const eh_engine_config *eh_segment_config(const eh_segment_hold *hold);
int eh_segment_is_current(const eh_segment_hold *hold, const char *path);  // 0: the file was replaced since

// Control.
void eh_segment_publish(eh_segment_hold *hold, const eh_params *params);
void eh_segment_set_mix_gain_bark(eh_segment_hold *hold, const float *gain_lin);      // (EH_N_CHANNEL, EH_N_BARK)
int eh_segment_wait(eh_segment_hold *hold, int timeout_ms);                           // 1: something came
int eh_segment_take_observation(eh_segment_hold *hold, eh_observation *observation);  // 1: one was there
int eh_segment_take_event(eh_segment_hold *hold, eh_event *event);
void eh_segment_skip_observations(eh_segment_hold *hold);  // what came while nobody listened
void eh_segment_beat(eh_segment_hold *hold, uint64_t frame);
// Measures the way from the card's outputs round to an input of the mixer, over a cable: the outputs fall silent but
// for a click now and then on all of them. lane from 0; -1 ends it. eh_segment_probe_ways copies the ways found so far,
// in frames, -1 for a click that did not come back, and returns how many there were.
void eh_segment_probe(eh_segment_hold *hold, int lane);
int eh_segment_probe_ways(const eh_segment_hold *hold, int *way_frames);  // EH_N_PROBES of them, the newest last
// What control leaves to its successor: written whole or not at all. Returns how many bytes there are.
int eh_segment_write_notebook(eh_segment_hold *hold, int notebook, const void *bytes, size_t n_bytes);
size_t eh_segment_read_notebook(const eh_segment_hold *hold, int notebook, void *bytes, size_t n_bytes);

// Everybody.
int eh_segment_latest(const eh_segment_hold *hold, eh_observation *observation);  // 1: there is one
int eh_segment_params(const eh_segment_hold *hold, eh_params *params);  // as published last; 1: there were any
void eh_segment_status(const eh_segment_hold *hold, eh_live_status *status);
uint64_t eh_clock_ns(void);  // CLOCK_MONOTONIC
