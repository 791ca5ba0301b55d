// A cascade of second-order sections on each lane: high-pass, bells, shelves, tilt. State-variable filters (TPT), exact
// to -90 dB down to 20 Hz in float32, and well behaved while their coefficients ramp.
#pragma once

#include "types.h"

enum { EH_EQ_MAX_SECTIONS = 24 };

typedef enum {
    EH_SECTION_FLAT = 0,  // output equals input, bit for bit, at no cost once the ramp is over
    EH_SECTION_BELL = 1,
    EH_SECTION_LOW_SHELF = 2,
    EH_SECTION_HIGH_SHELF = 3,
    EH_SECTION_HIGH_PASS = 4,
    EH_SECTION_TILT = 5,  // gain_db far above freq_hz, minus gain_db far below
} eh_section_type;

typedef struct {
    int type;
    float freq_hz, gain_db, q;  // freq_hz is clamped to 1 Hz and 0.49 of the sample rate; a tilt has no q
} eh_section_design;

typedef struct {
    float sample_rate_hz;
    int n_lanes, n_sections;
    int32_t phase;  // frames since states were last looked at for what has died away
    float *memory;  // coefficients, their steps, targets and the states; layout in eq.c
} eh_eq;

size_t eh_eq_size_bytes(int n_lanes, int n_sections);  // of memory, 64-byte aligned
eh_status eh_eq_init(eh_eq *eq, float sample_rate_hz, int n_lanes, int n_sections, void *memory);  // all flat
// A ramp is shared by the four lanes of a vector: others on their way start anew from where they are. A design that is
// set already costs a comparison.
void eh_eq_set(eh_eq *eq, int lane, int section, const eh_section_design *design, float ramp_ms) EH_RT;
void eh_eq_reset(eh_eq *eq) EH_RT;  // forgets sound, jumps to the targets
void eh_eq_reset_lane(eh_eq *eq, int lane) EH_RT;
void eh_eq_process(eh_eq *eq, const float *in, float *out, size_t n_frames) EH_RT;

// Gain in dB of one section at freq_hz[n]: what the filter does, for rules, displays and tests.
void eh_section_response_db(const eh_section_design *design, float sample_rate_hz, const float *freq_hz, float *gain_db,
                            size_t n);
