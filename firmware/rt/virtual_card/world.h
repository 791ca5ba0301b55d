// The world around a virtual card: whoever makes it, feeds its capture side, takes what it plays, moves its clock and
// breaks it. Plain C that cffi reads; firmware/system/virtual_card.py is its face. Calls may come from any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct eh_world eh_world;

typedef struct {
    int32_t sample_rate_hz, n_capture, n_playback, ring_frames;
    int32_t formats;         // mask: 1 S16_LE, 2 S24_3LE, 4 S32_LE
    int32_t is_manual;       // the clock moves by eh_world_advance only
    int32_t begins_at_once;  // else with the first start
    int32_t has_tape;        // the clock waits for eh_world_feed
    int32_t has_recorder;    // the clock waits for eh_world_take
    int32_t has_cable;       // capture hears playback instead of a tape
    double ppm;              // how much too fast a wall clock runs
    uint64_t cable[64];      // per capture channel, the playback channels that come back on it, a mask
} eh_world_settings;

typedef struct {
    int32_t state, owner_pid;
    int64_t start_frame, appl_frame, wait_frame;
    int64_t n_opens, n_starts, n_wakes, n_late_wakes, max_late_frames;
    int64_t n_xruns, n_injected_xruns, n_short_transfers, n_suspends, n_scheduled_left;
} eh_world_direction;

typedef struct {
    int64_t frame, fed_frame, taken_frame;
    int64_t n_waits, waited_frames;  // how often, and for how long, the clock waited for tape or recorder
    int32_t has_begun, is_plugged, sample_rate_hz;
    eh_world_direction capture, playback;
} eh_world_report;

// Makes the file and its two FIFOs; replaces those of a dead world. NULL says why in reason.
eh_world *eh_world_create(const char *path, const eh_world_settings *settings, char *reason, size_t reason_bytes);
void eh_world_close(eh_world *w);  // pulls the plug, removes the files

int64_t eh_world_frame(eh_world *w);
void eh_world_read(eh_world *w, eh_world_report *report);

// How many frames found room. Float is rounded as the engine rounds.
int64_t eh_world_feed_s32(eh_world *w, const int32_t *frames, int64_t n_frames);
int64_t eh_world_feed_float(eh_world *w, const float *frames, int64_t n_frames);
void eh_world_end_tape(eh_world *w);  // silence from here on
// What was played, in order, from *first_frame on. A wall clock holds back the newest few unless takes_all.
int64_t eh_world_take(eh_world *w, int32_t *frames, int64_t max_frames, int takes_all, int64_t *first_frame);

// Manual clock: how many frames it moved; less than asked when tape or recorder is behind, 0 before it has begun.
int64_t eh_world_advance(eh_world *w, int64_t n_frames);
// Advances in steps and lets the programs on the directions of mask (1 capture, 2 playback) come to rest before and
// after each. Returns the frames moved; *is_at_rest is 0 when a program did not come to rest in time.
int64_t eh_world_run(eh_world *w, int64_t n_frames, int64_t step_frames, int mask, int64_t timeout_ns, int *is_at_rest);
// Until the programs of mask sleep for a frame to come. A closed direction is at rest.
int eh_world_wait_for_rest(eh_world *w, int mask, int64_t timeout_ns);
int eh_world_wait_for_start(eh_world *w, int mask, int64_t timeout_ns);

void eh_world_set_ppm(eh_world *w, double ppm);
// What the preamp of a capture channel makes of the tape from the next read on; the others play it as it is.
void eh_world_set_preamp_gain(eh_world *w, int channel, float gain_lin);
void eh_world_set_offer(eh_world *w, int formats, int n_capture, int n_playback);
// frame < 0 is now. 0, or -1 out of order, -2 already so, -3 the log is full, -4 a wall clock cannot plan a new rate.
int eh_world_plug(eh_world *w, int64_t frame, int is_plugged, int disguise, int sample_rate_hz);
// Kinds: 1 xrun, 2 suspend, 3 short transfer of amount frames, 4 wake-up amount frames late (count < 0: from now on).
void eh_world_fault(eh_world *w, int direction, int kind, int64_t count, int amount);
// At a frame, in order. 0, or -1 out of order, -3 the schedule is full.
int eh_world_schedule(eh_world *w, int direction, int64_t frame, int kind, int amount);
