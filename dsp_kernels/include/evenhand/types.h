// What all kernels share: status codes, sizes, and the mark of what the audio thread may call.
//
// Audio is interleaved, x[frame][lane], with the number of lanes a multiple of 4: a vector is four neighbouring lanes.
// A mono channel is one lane; a stereo channel is a linked pair, an even lane and the next.
// Kernels are banks over all lanes. init may refuse and is for the control side; set, reset and process are real-time
// safe. process accepts in == out, does not depend on how the caller cuts the audio into blocks, and never reads or
// writes past n_frames * n_lanes. These headers hold plain structs, enums and prototypes only: cffi reads the same
// files.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "eh_contract.h"

#if defined(__clang__) && __clang_major__ >= 20 && defined(EH_RTSAN)
#define EH_RT __attribute__((nonblocking))
#else
#define EH_RT
#endif

enum {
    EH_LANES_PER_VECTOR = 4,
    EH_MAX_LANES = 64,
    EH_MAX_BLOCK_FRAMES = 64,  // the engine cuts longer blocks
};

typedef enum {
    EH_OK = 0,
    EH_ERR_SAMPLE_RATE = 1,  // outside 8000 to 192000 Hz
    EH_ERR_LANES = 2,        // not a positive multiple of 4 up to EH_MAX_LANES
    EH_ERR_ARGUMENT = 3,
} eh_status;

// Denormal numbers cost up to a hundred times the cycles: flushed in every thread that runs kernels.
unsigned eh_denormals_flush(void) EH_RT;  // returns what restore needs
void eh_denormals_restore(unsigned control) EH_RT;
