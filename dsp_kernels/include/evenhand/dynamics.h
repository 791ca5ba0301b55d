// Gate, compressor and saturation of each lane. The gain is computed each 4 frames and ramped in between; no delay.
// Linked lanes (2k, 2k + 1) share the louder detector.
#pragma once

#include "types.h"

enum { EH_DYNAMICS_FRAMES = 4 };  // frames per gain computation

// The gate opens when the peak level (instant rise, fall with 10 ms) reaches threshold_dbfs. Once open it stays open
// until the level has been 3 dB under the threshold (hysteresis, no parameter) for hold_ms. Closed it takes away
// (ratio - 1) dB per dB under the threshold and comes softly, over the last 6 dB, to range_db. The gain then moves with
// attack_ms when it rises and release_ms when it falls. Off, at ratio 1 or at range 0 it goes to unity within 20 ms;
// a group of four such lanes passes its bits unchanged and costs nothing.
typedef struct {
    float sample_rate_hz;
    int n_lanes;
    int32_t phase;  // frames since the last gain computation, 0 to 3
    float detector_decay;
    eh_gate_params params[EH_MAX_LANES];
    float is_on[EH_MAX_LANES];        // 1 or 0
    int32_t is_linked[EH_MAX_LANES];  // -1 or 0
    int32_t is_active[EH_MAX_LANES / EH_LANES_PER_VECTOR];
    float attack_share[EH_MAX_LANES], release_share[EH_MAX_LANES];  // of the distance, per computation
    float threshold_log2[EH_MAX_LANES], slope[EH_MAX_LANES];
    float knee_start_log2[EH_MAX_LANES], knee_log2[EH_MAX_LANES], knee_scale[EH_MAX_LANES];
    float hold_ticks[EH_MAX_LANES], hold_left[EH_MAX_LANES];  // hold_left is negative while closed
    int32_t peak_bits[EH_MAX_LANES];                          // of a float
    float envelope_lin[EH_MAX_LANES];
    float gain_lin[EH_MAX_LANES], step_lin[EH_MAX_LANES];    // of the line between computations
    float target_lin[EH_MAX_LANES], rest_lin[EH_MAX_LANES];  // where it leads, and what rounding left
} eh_gate;

eh_status eh_gate_init(eh_gate *g, float sample_rate_hz, int n_lanes);
void eh_gate_link(eh_gate *g, int even_lane, int is_linked);
void eh_gate_set(eh_gate *g, int lane, const eh_gate_params *p) EH_RT;
void eh_gate_reset(eh_gate *g) EH_RT;
void eh_gate_reset_lane(eh_gate *g, int lane) EH_RT;
void eh_gate_process(eh_gate *g, const float *in, float *out, size_t n_frames) EH_RT;
float eh_gate_gain_db(const eh_gate *g, int lane) EH_RT;

// Feed-forward, gain computed in the log domain from the peak level, decoupled smooth peak detector (Giannoulis,
// Massberg, Reiss, JAES 60(6), 2012). mix_percent and is_on fade between the input and the compressed signal; a group
// of four lanes that are out passes its bits unchanged and costs nothing. is_automatic (same authors, JAES 61(10),
// 2013), renewed every 32 frames from the crest factor C (peak over RMS, both 200 ms) and the average gain reduction A
// (one-pole, 2 s, started at half of what full scale would lose):
//   attack = 2 attack_ms / C^2, release = 2 release_ms / C^2 - attack, knee = 2.5 A, make-up = A + makeup_db
// within 0.1 ms (or 4.8 frames) to attack_ms, 5 ms to release_ms, and A up to 12 dB. knee_db is then without effect.
typedef struct {
    float sample_rate_hz;
    int n_lanes;
    int32_t phase;  // frames since the last renewal, 0 to 31
    int32_t is_active[EH_MAX_LANES / EH_LANES_PER_VECTOR];
    int32_t is_automatic[EH_MAX_LANES / EH_LANES_PER_VECTOR];  // any lane of the group
    float crest_share, average_share;                          // of the distance, per renewal
    float *memory;                                             // layout in compressor.c
} eh_compressor;

size_t eh_compressor_size_bytes(int n_lanes);
eh_status eh_compressor_init(eh_compressor *c, float sample_rate_hz, int n_lanes, void *memory);
void eh_compressor_link(eh_compressor *c, int even_lane, int is_linked);
void eh_compressor_set(eh_compressor *c, int lane, const eh_compressor_params *p) EH_RT;
void eh_compressor_reset(eh_compressor *c) EH_RT;
void eh_compressor_reset_lane(eh_compressor *c, int lane) EH_RT;
void eh_compressor_process(eh_compressor *c, const float *in, float *out, size_t n_frames) EH_RT;
float eh_compressor_gain_db(const eh_compressor *c, int lane) EH_RT;  // make-up included

// Odd saturation curve, anti-aliased, unity and without delay for small signals. What it adds to louder ones lags by
// one frame, but for the part that is proportional to the signal. A group of four lanes that are off passes its bits
// unchanged and costs nothing.
typedef struct {
    float sample_rate_hz;
    int n_lanes;
    int32_t phase;           // frames since the last tick, 0 to 15
    float proportion_share;  // of the distance, per tick
    float *memory;           // layout in saturation.c
} eh_saturation;

size_t eh_saturation_size_bytes(int n_lanes);
eh_status eh_saturation_init(eh_saturation *s, float sample_rate_hz, int n_lanes, void *memory);
void eh_saturation_set(eh_saturation *s, int lane, const eh_saturation_params *p) EH_RT;
void eh_saturation_reset(eh_saturation *s) EH_RT;
void eh_saturation_reset_lane(eh_saturation *s, int lane) EH_RT;
void eh_saturation_process(eh_saturation *s, const float *in, float *out, size_t n_frames) EH_RT;
