// The analysis thread: all the FFT work, of lower priority, in its own time. It catches up with the end of each tick
// and hands control what the engine showed there together with the features of the very same frame.
#include "live_state.h"

#include <string.h>

static void take_mix_gain(eh_live *l) {
    const int slot = eh_triple_take(&l->segment->mix_gain_owner);
    if (slot >= 0) eh_engine_set_mix_gain_bark(l->engine, l->segment->mix_gain_lin[slot][0]);
}

static void observe(eh_live *l, const eh_tick *tick) {
    eh_observation *observation = &l->observation;
    const size_t n_channels = (size_t)l->mixer.n_channels;
    observation->frame = tick->frame;
    observation->time_ns = tick->time_ns;
    observation->loudness = tick->loudness;
    memcpy(observation->buses, tick->buses, sizeof observation->buses);
    memcpy(observation->channels, tick->channels, sizeof observation->channels);
    memcpy(observation->features, eh_engine_features(l->engine), n_channels * sizeof observation->features[0]);
    eh_engine_read_mix_features(l->engine, &observation->mix);
    eh_segment_put_observation(l->segment, observation);
}

void *eh_analysis_main(void *live) {
    eh_live *l = live;
    eh_denormals_flush();
    for (;;) {
        while (sem_wait(&l->ticks_ready) != 0) continue;
        if (atomic_load(&l->is_done)) return NULL;
        const uint64_t at = atomic_load_explicit(&l->ticks.n_read, memory_order_relaxed);
        if (at == atomic_load_explicit(&l->ticks.n_written, memory_order_acquire)) continue;
        const eh_tick *tick = &l->tick[at % EH_N_TICKS];
        take_mix_gain(l);
        eh_engine_analyse_to(l->engine, tick->tap_position);
        observe(l, tick);
        atomic_store_explicit(&l->ticks.n_read, at + 1, memory_order_release);
    }
}
