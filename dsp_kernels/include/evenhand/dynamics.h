// Gate, compressor and saturation of each lane. The gain is computed each 4 frames and ramped in between; no delay.
// Linked lanes (2k, 2k + 1) share the louder detector.
#pragma once

#include "types.h"

enum { EH_DYNAMICS_FRAMES = 4 };  // frames per gain computation

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    int32_t phase;                           // frames since the last gain computation, 0 to 3
    float is_linked[EH_MAX_LANES];           // 1 or 0
    float attack_coeff[EH_MAX_LANES], release_coeff[EH_MAX_LANES];
    float threshold_log2[EH_MAX_LANES], slope[EH_MAX_LANES], floor_log2[EH_MAX_LANES];
    float hold_ticks[EH_MAX_LANES], hold_left[EH_MAX_LANES];
    float peak_lin[EH_MAX_LANES], envelope_lin[EH_MAX_LANES], gain_log2[EH_MAX_LANES];
    float gain_lin[EH_MAX_LANES], step_lin[EH_MAX_LANES];
    float is_active[EH_MAX_LANES / EH_LANES_PER_VECTOR];
} eh_gate;

eh_status eh_gate_init(eh_gate *g, float sample_rate_hz, int n_lanes);
void eh_gate_link(eh_gate *g, int even_lane, int is_linked);
void eh_gate_set(eh_gate *g, int lane, const eh_gate_params *p) EH_RT;
void eh_gate_reset(eh_gate *g) EH_RT;
void eh_gate_reset_lane(eh_gate *g, int lane) EH_RT;
void eh_gate_process(eh_gate *g, const float *in, float *out, size_t n_frames) EH_RT;
float eh_gate_gain_db(const eh_gate *g, int lane) EH_RT;

typedef struct {
    float sample_rate_hz;
    int n_lanes;
    float *memory;  // layout in compressor.c
} eh_compressor;

size_t eh_compressor_size_bytes(int n_lanes);
eh_status eh_compressor_init(eh_compressor *c, float sample_rate_hz, int n_lanes, void *memory);
void eh_compressor_link(eh_compressor *c, int even_lane, int is_linked);
void eh_compressor_set(eh_compressor *c, int lane, const eh_compressor_params *p) EH_RT;
void eh_compressor_reset(eh_compressor *c) EH_RT;
void eh_compressor_reset_lane(eh_compressor *c, int lane) EH_RT;
void eh_compressor_process(eh_compressor *c, const float *in, float *out, size_t n_frames) EH_RT;
float eh_compressor_gain_db(const eh_compressor *c, int lane) EH_RT;  // make-up included

// Odd saturation curve, anti-aliased, unity for small signals, without delay.
typedef struct {
    float sample_rate_hz;
    int n_lanes;
    float *memory;  // layout in saturation.c
} eh_saturation;

size_t eh_saturation_size_bytes(int n_lanes);
eh_status eh_saturation_init(eh_saturation *s, float sample_rate_hz, int n_lanes, void *memory);
void eh_saturation_set(eh_saturation *s, int lane, const eh_saturation_params *p) EH_RT;
void eh_saturation_reset(eh_saturation *s) EH_RT;
void eh_saturation_reset_lane(eh_saturation *s, int lane) EH_RT;
void eh_saturation_process(eh_saturation *s, const float *in, float *out, size_t n_frames) EH_RT;
