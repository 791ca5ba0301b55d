// Starts and stops the live mixer, and keeps its card: opening and closing may take as long as they like here.
#define _GNU_SOURCE  // thread affinity
#include "live_state.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { STACK_BYTES = 256 * 1024, FADE_MS = 10, FIRST_BACK_OFF_MS = 1, LAST_BACK_OFF_MS = 500, ALIGNMENT_BYTES = 64 };

int eh_lock_memory(void) { return mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 0 : -errno; }

static void sleep_ms(int ms) {
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

// -------------------------------------------------------------------------------------------------------- keeper

static void bring_card_back(eh_live *l) {
    char why[EH_WHY_BYTES];
    eh_card_close(&l->card);
    for (int pause_ms = FIRST_BACK_OFF_MS; !atomic_load(&l->is_done);) {
        if (eh_card_open(&l->card, why) == 0) {
            eh_trouble_set(&l->segment->trouble, "");
            atomic_store_explicit(&l->card_owner, CARD_READY, memory_order_release);
            return;
        }
        eh_trouble_set(&l->segment->trouble, why);
        sleep_ms(pause_ms);
        pause_ms = pause_ms * 2 < LAST_BACK_OFF_MS ? pause_ms * 2 : LAST_BACK_OFF_MS;
    }
}

void *eh_keeper_main(void *live) {
    eh_live *l = live;
    for (;;) {
        while (sem_wait(&l->card_lost) != 0) continue;
        if (atomic_load(&l->is_done)) return NULL;
        if (atomic_load_explicit(&l->card_owner, memory_order_acquire) == CARD_WITH_KEEPER) bring_card_back(l);
    }
}

// ------------------------------------------------------------------------------------------------------- threads

// A thread with its priority and core; without the right to them an ordinary one. Returns 0 or an errno.
static int start_thread(eh_live *l, void *(*main)(void *), void *argument, int priority, int core, int *is_realtime) {
    pthread_t *thread = &l->threads[l->n_threads];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (core >= 0 && core < CPU_SETSIZE) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET(core, &cores);
        pthread_attr_setaffinity_np(&attributes, sizeof cores, &cores);
    }
    int error = EPERM;
    if (priority > 0) {
        const struct sched_param wanted = {.sched_priority = priority};
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &wanted);
        error = pthread_create(thread, &attributes, main, argument);
    }
    *is_realtime = error == 0;
    if (error != 0) {
        pthread_attr_setinheritsched(&attributes, PTHREAD_INHERIT_SCHED);
        error = pthread_create(thread, &attributes, main, argument);
    }
    pthread_attr_destroy(&attributes);
    l->n_threads += error == 0;
    return error;
}

// Those that wait for the audio thread end when it has; what it played last is still heard on the second card.
static void end_other_threads(eh_live *l, int n_threads) {
    atomic_store(&l->is_done, 1);
    sem_post(&l->ticks_ready);
    sem_post(&l->card_lost);
    if (l->secondary) eh_secondary_card_end(l->secondary);
    while (n_threads > 0) pthread_join(l->threads[--n_threads], NULL);
}

static int start_threads(eh_live *l, char *why) {
    const eh_live_config *c = &l->config;
    const int below = c->audio_priority > 0 ? c->audio_priority - 1 : 0;
    int is_realtime;
    int error = start_thread(l, eh_keeper_main, l, 0, -1, &is_realtime);
    if (error == 0) error = start_thread(l, eh_analysis_main, l, c->analysis_priority, c->analysis_core, &is_realtime);
    if (error == 0 && l->secondary)
        error = start_thread(l, eh_secondary_card_main, l->secondary, below, c->audio_core, &is_realtime);
    if (error == 0) error = start_thread(l, eh_audio_main, l, c->audio_priority, c->audio_core, &is_realtime);
    if (error == 0) {
        atomic_store(&l->segment->is_realtime, is_realtime);
        return 0;
    }
    end_other_threads(l, l->n_threads);
    snprintf(why, EH_WHY_BYTES, "the mixer's threads cannot be started: %s", strerror(error));
    return -error;
}

// --------------------------------------------------------------------------------------------------------- start

static void free_live(eh_live *l) {
    eh_card_close(&l->card);
    eh_secondary_card_free(l->secondary);
    free(l->arena);
    free(l);
}

static int make_engine(eh_live *l, char *why) {
    const eh_engine_config *config = &l->mixer;
    const size_t size_bytes = eh_engine_size_bytes(config);
    l->arena = aligned_alloc(ALIGNMENT_BYTES, (size_bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES);
    if (size_bytes == 0 || !l->arena || eh_engine_init(&l->engine, config, l->arena) != EH_OK) {
        snprintf(why, EH_WHY_BYTES, "the mixer of %d channels cannot be made", config->n_channels);
        return -ENOMEM;
    }
    eh_engine_use_mailbox(l->engine, &l->segment->params);
    return 0;
}

// The caller blocks these while we start: the handler of another language would run only when we are done.
static int is_told_to_end(void) {
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT));
}

static void wait_for_snapshot(eh_live *l) {
    for (int ms = 0; ms < l->config.snapshot_timeout_ms && !is_told_to_end(); ms++) {
        if (atomic_load_explicit(&l->segment->n_published, memory_order_acquire) > 0) return;
        sleep_ms(1);
    }
}

// Time goes on where the predecessor left it, on a whole tick, so that control sees it pass.
static uint64_t first_frame(const eh_live *l) {
    const uint64_t n_before = atomic_load(&l->segment->last_frame), beat_ns = atomic_load(&l->segment->engine_beat_ns);
    if (n_before == 0) return 0;
    const uint64_t now_ns = eh_clock_ns(), tick = (uint64_t)l->config.tick_frames;
    const uint64_t gap_ns = now_ns > beat_ns ? now_ns - beat_ns : 0;
    const uint64_t n = n_before + gap_ns / 1000 * (uint64_t)l->config.card.sample_rate_hz / 1000000;
    return (n + tick - 1) / tick * tick;
}

static int check(const eh_live_config *config, const eh_segment *segment, char *why) {
    const eh_card_config *card = &config->card;
    if (eh_card_check(card, why) < 0) return -EINVAL;
    if (card->n_capture == 0 || card->n_playback == 0) {
        snprintf(why, EH_WHY_BYTES, "%s: the main card must capture and play", card->capture_pcm);
        return -EINVAL;
    }
    if (card->n_capture_lanes != segment->config.n_capture_lanes || config->tick_frames < 1) {
        snprintf(why, EH_WHY_BYTES, "the card is patched to %d lanes, the mixer has %d", card->n_capture_lanes,
                 segment->config.n_capture_lanes);
        return -EINVAL;
    }
    return 0;
}

static int make_secondary(eh_live *l, char *why) {
    atomic_store(&l->segment->secondary_state, EH_STATE_STARTING);
    atomic_store(&l->segment->secondary_ppm_x1000, 0);
    eh_trouble_set(&l->segment->secondary_trouble, "");
    if (l->config.secondary.n_capture == 0 && l->config.secondary.n_playback == 0) return 0;
    l->secondary = eh_secondary_card_make(&l->config, l->segment, why);
    return l->secondary ? 0 : -EINVAL;
}

eh_live *eh_live_start(const eh_live_config *config, eh_segment_hold *hold, eh_record_ring *record, char *why) {
    if (check(config, hold->segment, why) < 0) return NULL;
    const size_t size_bytes = (sizeof(eh_live) + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    eh_live *l = aligned_alloc(ALIGNMENT_BYTES, size_bytes);
    if (!l) {
        snprintf(why, EH_WHY_BYTES, "no memory for the live mixer");
        return NULL;
    }
    memset(l, 0, size_bytes);
    l->config = *config;
    l->mixer = hold->mixer;
    l->card.config = config->card;
    l->segment = hold->segment;
    l->record = record;
    if (make_engine(l, why) < 0 || make_secondary(l, why) < 0) {
        free_live(l);
        return NULL;
    }
    const int opened = eh_card_open(&l->card, why);
    if (opened < 0 && !config->waits_for_card) {
        free_live(l);
        return NULL;
    }
    eh_trouble_set(&l->segment->trouble, opened < 0 ? why : "");
    atomic_store(&l->segment->is_locked, config->is_memory_locked);
    sem_init(&l->card_lost, 0, 0);
    sem_init(&l->ticks_ready, 0, 0);
    atomic_init(&l->card_owner, opened < 0 ? CARD_WITH_KEEPER : CARD_READY);
    atomic_store(&l->segment->round_trip_frames,
                 config->card.n_periods * config->card.period_frames + eh_engine_latency_frames(l->engine));
    l->n_fade_frames = config->card.sample_rate_hz * FADE_MS / 1000;
    l->fade_at = hold->is_resumed ? 0 : l->n_fade_frames;
    l->frame = first_frame(l);
    if (record) record->frame = l->frame;
    if (atomic_load(&l->segment->n_published) > 0) eh_triple_offer_again(&l->segment->params.triple);
    wait_for_snapshot(l);
    const eh_event started = {
        .frame = l->frame, .time_ns = eh_clock_ns(), .value = hold->is_resumed, .kind = EH_EVENT_STARTED};
    eh_segment_tell(l->segment, &started);
    sigset_t all, before;  // signals are for the thread that started us: no handler ever runs among the audio
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    const int started_threads = start_threads(l, why);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started_threads < 0) {
        free_live(l);
        return NULL;
    }
    return l;
}

void eh_live_stop(eh_live *l) {
    atomic_store(&l->is_stopping, 1);
    pthread_join(l->threads[l->n_threads - 1], NULL);  // the audio thread
    end_other_threads(l, l->n_threads - 1);
    free_live(l);
}
