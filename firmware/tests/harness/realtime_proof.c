// Proves that process neither allocates, nor locks, nor enters the kernel: the allocator and the mutexes are interposed
// and counted, and seccomp kills the process at any system call but write and exit.
//
// realtime_proof [malloc|lock|syscall]: with an argument it misbehaves inside the guarded part, to show that it is
// seen. Exit status: 0 clean, 1 counted an allocation or a lock, killed by SIGKILL at a system call.
#define _GNU_SOURCE
#include "engine.h"

#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int is_guarded;
static volatile unsigned n_allocations, n_locks;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

void *malloc(size_t n) {
    n_allocations += is_guarded;
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    n_allocations += is_guarded;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    n_allocations += is_guarded;
    return __libc_realloc(p, n);
}
void free(void *p) {
    n_allocations += is_guarded;
    __libc_free(p);
}
int pthread_mutex_lock(pthread_mutex_t *m) {
    n_locks += is_guarded;
    (void)m;
    return 0;
}

static void say(const char *text) {
    if (write(STDOUT_FILENO, text, strlen(text)) < 0) _exit(3);
}

static void misbehave(const char *how) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    if (strcmp(how, "malloc") == 0) {
        void *volatile p = malloc(64);
        free(p);
    }
    if (strcmp(how, "lock") == 0) pthread_mutex_lock(&mutex);
    if (strcmp(how, "syscall") == 0) syscall(SYS_getppid);
}

static eh_params everything_on(void) {
    eh_params p;
    eh_params_set_defaults(&p);
    for (int ch = 0; ch < EH_N_CHANNEL; ch++) {
        eh_channel_scope *c = &p.channel[ch];
        c->hpf.is_on = c->gate.is_on = c->compressor.is_on = c->saturation.is_on = 1.0f;
        c->compressor.is_automatic = (float)(ch & 1);
        c->input.delay_ms = 0.1f * (float)ch;
        for (int band = 0; band < EH_N_EQ_BANDS; band++) c->eq[band].gain_db = 3.0f;
        c->tilt.gain_db = 1.0f;
        for (int band = 0; band < EH_N_UNMASK_BANDS; band++) c->unmask[band].gain_db = -3.0f;
        c->automix.group = (float)(1 + ch % EH_N_GROUP);
        for (int aux = 0; aux < EH_N_AUX; aux++) {
            c->send[aux].level_db = -6.0f;
            c->send[aux].tap = (float)(aux & 1);
        }
        for (int fx = 0; fx < 2; fx++) c->fx_send[fx].level_db = -12.0f;
        c->duck.role = (float)(ch % 3);
        c->solo.is_on = ch == 5 ? 1.0f : 0.0f;
    }
    for (int group = 0; group < EH_N_GROUP; group++) p.group[group].share.mode = (float)(1 + group % 3);
    for (int n = 0; n < EH_N_NOTCHES; n++) p.main.notch[n].gain_db = -6.0f;
    p.main.bus_duck.depth_db = 6.0f;
    p.main.limiter.is_true_peak = p.record.limiter.is_true_peak = 1.0f;
    return p;
}

int main(int argc, char **argv) {
    enum { N_BLOCKS = 3000, N_FRAMES = 64, N_LANES = 32 };
    static float in[N_FRAMES * N_LANES], out[N_FRAMES * EH_N_OUTPUTS];
    const char *how = argc > 1 ? argv[1] : "";
    const eh_engine_config config = {
        .sample_rate_hz = 48000.0f, .n_capture_lanes = N_LANES, .n_channels = EH_N_CHANNEL};
    void *arena = aligned_alloc(64, eh_engine_size_bytes(&config));
    eh_engine *engine;
    if (!arena || eh_engine_init(&engine, &config, arena) != EH_OK) return 2;
    eh_params params = everything_on();
    uint32_t random = 1;
    free(malloc(64));  // so that a malloc under guard is counted before it would need the kernel
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 2;
    is_guarded = 1;
    for (int block = 0; block < N_BLOCKS; block++) {
        for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
            random = random * 1664525u + 1013904223u;
            in[i] = (float)(int32_t)random / 4294967296.0f;
        }
        if (block % 37 == 0) {  // parameters on the move, hostile values among them
            params.channel[block % 32].eq[1].freq_hz = 100.0f + (float)block;
            params.channel[block % 32].fader.level_db = -(float)(block % 60);
            params.channel[3].input.trim_db = block % 2 ? 1e30f : -1e30f;
            eh_engine_publish(engine, &params);
        }
        eh_engine_process(engine, in, out, NULL, N_FRAMES);
        eh_engine_analyse(engine);
        if (block == N_BLOCKS / 2) misbehave(how);
    }
    is_guarded = 0;
    say(n_allocations == 0 && n_locks == 0 ? "clean\n" : "allocated or locked\n");
    syscall(SYS_exit, n_allocations == 0 && n_locks == 0 ? 0 : 1);
    return 2;
}
