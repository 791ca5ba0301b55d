// Beat tracker: beat and downbeat activations, once a tick of 20 ms, become tempo, phase and beats, causally. A bar
// pointer (Whiteley, Cemgil, Godsill, "Bayesian modelling of temporal structure in musical audio", ISMIR 2006) over
// 50 to 214 BPM.
#pragma once

#include "types.h"

enum {
    EH_BEAT_STEPS_PER_TICK = 2,
    EH_BEAT_FIRST_STEPS = 28,  // the shortest beat, in steps of 10 ms
    EH_BEAT_LAST_STEPS = 120,
    EH_BEAT_PERIODS = 93,
    EH_BEAT_STATES = 6884,  // the sum of all periods, rounded up to a multiple of 4
    EH_BEAT_REACH = 6,      // steps by which a beat may be longer or shorter than the last
    EH_BEAT_MOVES = 13,
};

typedef struct {
    float tempo_bpm;
    float phase;       // 0 at the beat, up to 1
    float confidence;  // 0 to 1; 0 in silence
    int is_beat, is_downbeat;
} eh_beat;

typedef struct {
    float state[EH_BEAT_STATES];                 // probability of a period and a place in it; each period is a ring
    int head[EH_BEAT_PERIODS];                   // where place 0 lies in it
    float mass[EH_BEAT_PERIODS];                 // of each period
    float prior[EH_BEAT_PERIODS];                // of each state of the period
    float turn[EH_BEAT_PERIODS][2];              // a step as a part of the turn: cos, sin
    float move[EH_BEAT_PERIODS][EH_BEAT_MOVES];  // from the period that is that much shorter or longer
    float presence;                              // how strong activations lately were
    float downbeat;                              // strongest since the middle of the last beat
    float bar[2][4];                             // mean downbeat of each beat of a bar of 4, of 3
    int since_beat, is_judged;                   // ticks; whether the last beat's downbeat is in bar
    uint32_t n_beats;
} eh_beat_tracker;

eh_status eh_beat_tracker_init(eh_beat_tracker *b);
void eh_beat_tracker_reset(eh_beat_tracker *b);
// Activations from 0 to 1; what is no number counts as 0.
eh_beat eh_beat_tracker_process(eh_beat_tracker *b, float beat, float downbeat);
