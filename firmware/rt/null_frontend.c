// Null frontend: no card, no file; seeded noise in, nothing out, as fast as the machine goes.
#include "engine_state.h"

#include <string.h>

static uint32_t next_random(uint32_t *state) {  // xorshift32, Marsaglia 2003
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static uint64_t checksum(uint64_t sum, const float *x, size_t n) {  // FNV-1a over the samples' bits
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        sum = (sum ^ bits) * 0x100000001b3ULL;
    }
    return sum;
}

uint64_t eh_null_run(eh_engine *e, uint32_t seed, float level_lin, size_t n_blocks, size_t block_frames) {
    enum { N_NOISE_FRAMES = 1024 };
    float noise[N_NOISE_FRAMES * EH_MAX_CAPTURE_LANES];
    float out[EH_MAX_BLOCK_FRAMES * EH_N_OUTPUTS];
    const size_t n_capture = (size_t)e->config.n_capture_lanes;
    if (block_frames == 0 || block_frames > EH_MAX_BLOCK_FRAMES) return 0;
    uint32_t state = seed ? seed : 1;
    for (size_t i = 0; i < N_NOISE_FRAMES * n_capture; i++)
        noise[i] = level_lin * ((float)(next_random(&state) >> 8) / 8388608.0f - 1.0f);
    uint64_t sum = 0xcbf29ce484222325ULL;
    size_t at = 0;
    for (size_t block = 0; block < n_blocks; block++) {
        eh_engine_process(e, noise + at * n_capture, out, NULL, block_frames);
        eh_engine_analyse(e);
        sum = checksum(sum, out, block_frames * EH_N_OUTPUTS);
        at += block_frames;
        if (at + block_frames > N_NOISE_FRAMES) at = 0;
    }
    return sum;
}
