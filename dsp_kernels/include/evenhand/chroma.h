// Chroma: how strong each pitch class is in the sum of all lanes, equal temperament on A = 440 Hz, C2 to B6. Beside the
// feature extractor, not in the audio thread.
#pragma once

#include "types.h"

enum {
    EH_CHROMA_NOTES = 60,      // five octaves from 65.4 Hz
    EH_CHROMA_MAX_TAPS = 384,  // of the decimation, at 192 kHz
};

typedef struct {
    float sample_rate_hz;
    int factor, n_taps;  // decimation to 6 kHz or a little more
    int phase, at;       // frames since the last decimated one; place in the ring
    float tap[EH_CHROMA_MAX_TAPS];
    float ring[2 * EH_CHROMA_MAX_TAPS];  // each frame lies there twice, so that a window never wraps
    float turn_re[EH_CHROMA_NOTES], turn_im[EH_CHROMA_NOTES], gain[EH_CHROMA_NOTES];
    float state[4][EH_CHROMA_NOTES];  // re and im of the first resonator, then of the second
} eh_chroma;

eh_status eh_chroma_init(eh_chroma *c, float sample_rate_hz);
void eh_chroma_reset(eh_chroma *c) EH_RT;
// in is (n_frames, n_lanes); NaN, Inf and what is above +60 dBFS read as silence. Any n_frames.
void eh_chroma_process(eh_chroma *c, const float *in, int n_lanes, size_t n_frames) EH_RT;
// 12 values from C on, the largest 1; all 0 while no note reaches -100 dBFS.
void eh_chroma_read(const eh_chroma *c, float *chroma) EH_RT;
