// What a benchmark is: a name, a set-up and a run over blocks of the same noise.
#pragma once

#include "evenhand/evenhand.h"

typedef struct {
    const char *name;
    // Prepares for n_lanes (a multiple of 4) and blocks of n_frames.
    void (*prepare)(int n_lanes, int n_frames);
    // Processes one block: in (n_frames, n_lanes), out the same.
    void (*run)(const float *in, float *out);
} eh_benchmark;

extern const eh_benchmark eh_bench_ours[];     // ends with a NULL name
extern const eh_benchmark eh_bench_offline[];  // ours that no audio thread runs
extern const eh_benchmark eh_bench_naive[];    // the same work as one would first write it: planar, scalar, libm
extern const eh_benchmark eh_bench_naive_chain[];

// What a kernel makes that is no sound, as bytes.
typedef struct {
    const char *name;
    size_t (*tell)(void *to);
} eh_bench_teller;

extern const eh_bench_teller eh_bench_tellers[];  // of eh_bench_ours; ends with a NULL name

void eh_bench_prepare(const char *name, int n_lanes, int n_frames);
// Runs the prepared benchmark and returns the nanoseconds it took.
double eh_bench_run(const char *name, int n_blocks);
int eh_bench_exists(const char *name);
// Nanoseconds per fused multiply-add vector in a loop that does nothing else: what the core can do at most.
double eh_bench_fma_peak_ns(void);
