// What every kernel makes of the same sound, as one number each: two machines whose numbers are the same agree to the
// bit, in everything that was heard and read.
//
// digest N_LANES N_FRAMES N_BLOCKS: a line "NAME NUMBER" a kernel.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { MAX_FRAMES = 1024, BLOCKS_PER_KIND = 12 };

static float sound[MAX_FRAMES * EH_MAX_LANES], heard[MAX_FRAMES * EH_MAX_LANES];
static uint32_t told[EH_MAX_LANES * (sizeof(eh_channel_features) / sizeof(float) + MAX_FRAMES)];

static float next_noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

// A loud room, a quiet one, silence, clipping, clicks, tones, numbers too small for normal ones; no libm in any.
static float sample_of(int kind, int frame, int lane, uint32_t *state) {
    const float noise = next_noise(state);
    switch (kind) {
        case 0:
            return 0.25f * noise;
        case 1:
            return 1e-3f * noise;
        case 2:
            return 0.0f;
        case 3:
            return 1.5f * noise;
        case 4:
            return frame == 3 * lane % 16 ? 0.9f : 0.0f;
        case 5:
            return (frame + lane) % (8 + lane) * 2 < 8 + lane ? 0.3f : -0.3f;
        default:
            return 1e-39f * noise;
    }
}

static void make_sound(int block, int n_lanes, int n_frames, uint32_t *state) {
    const int kind = block / BLOCKS_PER_KIND % 7;
    for (int frame = 0; frame < n_frames; frame++)
        for (int lane = 0; lane < n_lanes; lane++) sound[frame * n_lanes + lane] = sample_of(kind, frame, lane, state);
}

static uint64_t digest(uint64_t sum, const void *words, size_t size_bytes) {  // FNV-1a over whole words
    for (size_t at = 0; at + sizeof(uint32_t) <= size_bytes; at += sizeof(uint32_t)) {
        uint32_t word;
        memcpy(&word, (const char *)words + at, sizeof word);
        sum = (sum ^ word) * 0x100000001b3ULL;
    }
    return sum;
}

static size_t tell(const char *name) {
    for (const eh_bench_teller *t = eh_bench_tellers; t->name; t++)
        if (strcmp(t->name, name) == 0) return t->tell(told);
    return 0;
}

static uint64_t digest_of(const eh_benchmark *b, int n_lanes, int n_frames, int n_blocks) {
    uint64_t sum = 0xcbf29ce484222325ULL;
    uint32_t state = 1;
    memset(heard, 0, sizeof heard);
    b->prepare(n_lanes, n_frames);
    for (int block = 0; block < n_blocks; block++) {
        make_sound(block, n_lanes, n_frames, &state);
        const unsigned control = eh_denormals_flush();
        b->run(sound, heard);
        const size_t n_told_bytes = tell(b->name);
        eh_denormals_restore(control);
        sum = digest(sum, heard, sizeof(float) * (size_t)(n_frames * n_lanes));
        sum = digest(sum, told, n_told_bytes);
    }
    return sum;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: digest N_LANES N_FRAMES N_BLOCKS\n");
        return 2;
    }
    const int n_lanes = atoi(argv[1]), n_frames = atoi(argv[2]), n_blocks = atoi(argv[3]);
    const eh_benchmark *tables[] = {eh_bench_ours, eh_bench_offline};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const eh_benchmark *b = tables[t]; b->name; b++)
            printf("%s %016" PRIx64 "\n", b->name, digest_of(b, n_lanes, n_frames, n_blocks));
    return 0;
}
