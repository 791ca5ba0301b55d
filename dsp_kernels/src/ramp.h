// Linear ramps that do not depend on how the audio is cut into blocks.
#pragma once

#include <stdint.h>

// Frames of a ramp, one at least: then the target is reached with the next frame.
static inline int32_t eh_ramp_frames(float ramp_ms, float sample_rate_hz) {
    const float frames = ramp_ms * 0.001f * sample_rate_hz;
    return frames < 1.0f ? 1 : (int32_t)(frames + 0.5f);
}
