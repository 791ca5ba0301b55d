// Runs benchmarks: from a shared library for interleaved timing, or as a program for counting instructions.
//
// bench NAME N_LANES N_FRAMES N_BLOCKS: the instructions of two runs with different N_BLOCKS, subtracted, are the
// work's.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "simd.h"

enum { N_NOISE_BLOCKS = 16, MAX_FRAMES = 1024 };

static float noise[N_NOISE_BLOCKS * MAX_FRAMES * EH_MAX_LANES], sink[MAX_FRAMES * EH_MAX_LANES];
static int lanes, frames;

static const eh_benchmark *find(const char *name) {
    const eh_benchmark *tables[] = {eh_bench_ours, eh_bench_naive, eh_bench_naive_chain};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const eh_benchmark *b = tables[t]; b->name; b++)
            if (strcmp(b->name, name) == 0) return b;
    return NULL;
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

int eh_bench_exists(const char *name) { return find(name) != NULL; }

void eh_bench_prepare(const char *name, int n_lanes, int n_frames) {
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++) {
        state = state * 1664525u + 1013904223u;
        noise[i] = 0.25f * (float)(int32_t)state / 2147483648.0f;
    }
    lanes = n_lanes;
    frames = n_frames;
    find(name)->prepare(n_lanes, n_frames);
}

double eh_bench_run(const char *name, int n_blocks) {
    const eh_benchmark *b = find(name);
    const unsigned control = eh_denormals_flush();
    const double start_ns = now_ns();
    for (int i = 0; i < n_blocks; i++) b->run(noise + (size_t)(i % N_NOISE_BLOCKS * frames * lanes), sink);
    const double spent_ns = now_ns() - start_ns;
    eh_denormals_restore(control);
    return spent_ns;
}

double eh_bench_fma_peak_ns(void) {
    enum { N_CHAINS = 10, N_STEPS = 200000 };  // enough independent chains to fill two pipes of latency 4
    v4 sum[N_CHAINS];
    for (int i = 0; i < N_CHAINS; i++) sum[i] = v4_set1((float)i);
    v4 a = v4_set1(0.999f), b = v4_set1(1e-3f);
    __asm__ volatile("" : "+m"(a), "+m"(b));
    const double start_ns = now_ns();
    for (int n = 0; n < N_STEPS; n++)
        for (int i = 0; i < N_CHAINS; i++) sum[i] = v4_fma(sum[i], a, b);
    const double spent_ns = now_ns() - start_ns;
    for (int i = 0; i < N_CHAINS; i++) v4_store(sink + 4 * i, sum[i]);
    return spent_ns / ((double)N_STEPS * N_CHAINS);
}

#ifdef EH_BENCH_MAIN
int main(int argc, char **argv) {
    if (argc != 5 || !eh_bench_exists(argv[1])) {
        fprintf(stderr, "usage: bench NAME N_LANES N_FRAMES N_BLOCKS\n");
        return 2;
    }
    eh_bench_prepare(argv[1], atoi(argv[2]), atoi(argv[3]));
    eh_bench_run(argv[1], atoi(argv[4]));
    return 0;
}
#endif
