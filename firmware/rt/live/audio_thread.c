// The audio thread: a period in, the mixer, a period out. It waits for nothing but the card; opening and closing one is
// the keeper's work. Without a card it goes on with silence on its own clock.
#include "live_state.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    MAX_FAILURES = 5,     // in a row, without one good period, whatever the card calls them: it is gone
    RECORD_LANE = 2,      // of the outputs: record L
    PROBE_FRAMES = 9600,  // from click to click: longer than any way through a card
    EDGE_SHARE = 256,     // of a late wake-up by which the edges follow: the card's clock is not quite ours
};

static const uint64_t SECOND_NS = 1000000000u;
static const float PROBE_CLICK_LIN = 0.25f, PROBE_HEARD_LIN = 0.0025f;  // 40 dB of loss in a cable are enough

static uint64_t frames_to_ns(const eh_live *l, uint64_t n_frames) {
    return n_frames * SECOND_NS / (uint64_t)l->config.card.sample_rate_hz;
}

static uint64_t ns_to_frames(const eh_live *l, uint64_t ns) {
    return ns / 1000 * (uint64_t)l->config.card.sample_rate_hz / 1000000;
}

static void tell(eh_live *l, eh_event_kind kind, int64_t value) {
    const eh_event event = {.frame = l->frame, .time_ns = eh_clock_ns(), .value = value, .kind = kind};
    eh_segment_tell(l->segment, &event);
}

// --------------------------------------------------------------------------------------------------------- mixer

static void tell_counters(eh_live *l) {
    const eh_engine_stats now = eh_engine_read_stats(l->engine);
    eh_segment_count(l->segment, EH_COUNT_TAPS_DROPPED, now.n_taps_dropped - l->told.n_taps_dropped);
    eh_segment_count(l->segment, EH_COUNT_HEALED, now.n_healed - l->told.n_healed);
    eh_segment_count(l->segment, EH_COUNT_CLAMPED, now.n_clamped - l->told.n_clamped);
    eh_segment_count(l->segment, EH_COUNT_SNAPSHOTS, now.n_snapshots - l->told.n_snapshots);
    if (now.n_healed > l->told.n_healed) tell(l, EH_EVENT_HEALED, (int64_t)(now.n_healed - l->told.n_healed));
    l->told = now;
}

static void end_tick(eh_live *l) {
    tell_counters(l);
    if (l->secondary) eh_secondary_card_tell(l->secondary, l->frame);
    atomic_store_explicit(&l->segment->last_frame, l->frame, memory_order_relaxed);
    const uint64_t at = atomic_load_explicit(&l->ticks.n_written, memory_order_relaxed);
    if (at - atomic_load_explicit(&l->ticks.n_read, memory_order_acquire) >= EH_N_TICKS) {
        eh_segment_count(l->segment, EH_COUNT_OBSERVATIONS_DROPPED, 1);
        return;
    }
    eh_tick *tick = &l->tick[at % EH_N_TICKS];
    tick->frame = l->frame;
    tick->time_ns = eh_clock_ns();
    tick->tap_position = eh_engine_tap_position(l->engine);
    tick->loudness = eh_engine_loudness(l->engine);
    eh_engine_read_meters(l->engine, tick->channels, tick->buses);
    atomic_store_explicit(&l->ticks.n_written, at + 1, memory_order_release);
    sem_post(&l->ticks_ready);
}

static void mix_period(eh_live *l) {
    const int n_frames = l->config.card.period_frames, n_lanes = l->config.card.n_capture_lanes;
    for (int done = 0; done < n_frames;) {
        const int to_tick = l->config.tick_frames - l->tick_at, left = n_frames - done;
        const int n = to_tick < left ? to_tick : left;
        eh_engine_process(l->engine, l->in + done * n_lanes, l->out + done * EH_N_OUTPUTS, NULL, (size_t)n);
        done += n;
        l->frame += (uint64_t)n;
        l->tick_at += n;
        if (l->tick_at < l->config.tick_frames) continue;
        l->tick_at = 0;
        end_tick(l);
    }
    eh_segment_count(l->segment, EH_COUNT_FRAMES, (uint64_t)n_frames);
    if (l->record)
        eh_record_ring_put(l->record, l->in, (size_t)n_lanes, l->out, EH_N_OUTPUTS, RECORD_LANE, (size_t)n_frames);
}

// step +1 opens after a break, -1 closes before the end.
static void fade(eh_live *l, int step) {
    if (step > 0 && l->fade_at >= l->n_fade_frames) return;
    float *out = l->out;
    for (int n = 0; n < l->config.card.period_frames; n++, out += EH_N_OUTPUTS) {
        const float gain_lin = (float)l->fade_at / (float)l->n_fade_frames;
        for (int lane = 0; lane < EH_N_OUTPUTS; lane++) out[lane] *= gain_lin;
        l->fade_at += step;
        if (l->fade_at < 0) l->fade_at = 0;
        if (l->fade_at > l->n_fade_frames) l->fade_at = l->n_fade_frames;
    }
}

// One click on every output, then silence in which its echo over a cable is looked for.
static void probe(eh_live *l, int lane) {
    const int n_lanes = l->config.card.n_capture_lanes;
    memset(l->out, 0, sizeof l->out);
    for (int n = 0; n < l->config.card.period_frames; n++) {
        if (l->probe_age == 0) {
            l->probe_peak_lin = 0.0f;
            for (int output = 0; output < EH_N_OUTPUTS; output++) l->out[n * EH_N_OUTPUTS + output] = PROBE_CLICK_LIN;
        } else {
            const float heard = l->in[n * n_lanes + lane], level = heard < 0.0f ? -heard : heard;
            if (level > l->probe_peak_lin) l->probe_peak_lin = level, l->probe_peak_at = l->probe_age;
        }
        if (++l->probe_age < PROBE_FRAMES) continue;
        l->probe_age = 0;
        const unsigned at = atomic_load_explicit(&l->segment->n_probes, memory_order_relaxed);
        atomic_store(&l->segment->probe_way_frames[at % EH_N_PROBES],
                     l->probe_peak_lin > PROBE_HEARD_LIN ? l->probe_peak_at : -1);
        atomic_store_explicit(&l->segment->n_probes, at + 1, memory_order_release);
    }
}

static void probe_if_asked(eh_live *l) {
    const int asked = atomic_load_explicit(&l->segment->probe_lane, memory_order_relaxed);
    const int lane = asked >= 1 && asked <= l->config.card.n_capture_lanes ? asked - 1 : -1;
    if (lane != l->probe_lane) l->probe_age = 0;
    l->probe_lane = lane;
    if (lane >= 0) probe(l, lane);
}

// ----------------------------------------------------------------------------------------------------- the card

// How long after the edge of the period we run. Frames tell it coarsely. Finer, edges come a period apart and none is
// later than the wake-up that it caused, so the earliest wake-ups show where they lie; a card that by this count should
// have moved on another period, and has not, stood still and begins anew.
static uint64_t lateness_ns(eh_live *l, uint64_t woke_ns, int late_frames) {
    const uint64_t period_ns = frames_to_ns(l, (uint64_t)l->config.card.period_frames);
    const uint64_t counted_ns = frames_to_ns(l, (uint64_t)late_frames), expected_ns = l->edge_ns + period_ns;
    const int64_t after_ns = (int64_t)(woke_ns - expected_ns);
    if (l->edge_ns == 0 || after_ns < 0 || after_ns > (int64_t)(counted_ns + period_ns)) {
        l->edge_ns = woke_ns - counted_ns;
        return counted_ns;
    }
    l->edge_ns = expected_ns + (uint64_t)after_ns / EDGE_SHARE;
    return (uint64_t)after_ns > counted_ns ? (uint64_t)after_ns : counted_ns;
}

static int serve_period(eh_live *l) {
    int late_frames = 0;
    const int read_error = eh_card_read(&l->card, l->in, &late_frames);
    if (read_error < 0) return read_error;
    const uint64_t woke_ns = eh_clock_ns(), late_ns = lateness_ns(l, woke_ns, late_frames);
    const int64_t edge_ns = (int64_t)(woke_ns - frames_to_ns(l, (uint64_t)late_frames));
    if (l->secondary) eh_secondary_card_take(l->secondary, l->in, edge_ns);
    mix_period(l);
    fade(l, atomic_load_explicit(&l->is_stopping, memory_order_relaxed) ? -1 : 1);
    probe_if_asked(l);
    if (l->secondary) eh_secondary_card_give(l->secondary, l->out, edge_ns);
    const int write_error = eh_card_write(&l->card, l->out);
    if (write_error < 0) return write_error;
    const uint64_t done_ns = eh_clock_ns();
    eh_segment_count(l->segment, EH_COUNT_PERIODS, 1);
    eh_segment_count_us(l->segment->wake_us, late_ns);
    eh_segment_count_us(l->segment->service_us, late_ns + (done_ns - woke_ns));
    atomic_store_explicit(&l->segment->engine_beat_ns, done_ns, memory_order_relaxed);
    l->last_good_ns = woke_ns;
    return 0;
}

static void sleep_until(uint64_t time_ns) {
    const struct timespec until = {.tv_sec = (time_t)(time_ns / SECOND_NS), .tv_nsec = (long)(time_ns % SECOND_NS)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
}

// Frames that the card captured since the last period that we served.
static uint64_t lost_frames(const eh_live *l) {
    const uint64_t since_ns = l->last_good_ns ? eh_clock_ns() - l->last_good_ns : 0;
    return ns_to_frames(l, since_ns);
}

static void note_loss(eh_live *l, eh_counter counter, eh_event_kind kind, int64_t value, eh_record_cause cause) {
    const uint64_t n_lost = lost_frames(l);
    eh_segment_count(l->segment, counter, 1);
    eh_segment_count(l->segment, EH_COUNT_PERIODS_LOST, n_lost / (uint64_t)l->config.card.period_frames);
    tell(l, kind, kind == EH_EVENT_XRUN ? (int64_t)n_lost : value);
    if (l->record) eh_record_ring_gap(l->record, n_lost, cause);
    if (l->secondary) eh_secondary_card_lost_frames(l->secondary);
    l->fade_at = 0;
}

static void recover(eh_live *l, int error) {
    atomic_store_explicit(&l->segment->engine_beat_ns, eh_clock_ns(), memory_order_relaxed);  // troubled, but awake
    l->edge_ns = 0;
    if (eh_card_restart(&l->card, error) < 0) return;  // the next read fails and is counted
    note_loss(l, EH_COUNT_XRUNS, EH_EVENT_XRUN, 0, EH_RECORD_GAP_XRUN);
    l->last_good_ns = eh_clock_ns();
}

static void give_card_up(eh_live *l, int error) {
    note_loss(l, EH_COUNT_CARD_LOSSES, EH_EVENT_CARD_LOST, error, EH_RECORD_GAP_DEVICE_LOST);
    atomic_store(&l->segment->state, EH_STATE_NO_CARD);
    atomic_store_explicit(&l->card_owner, CARD_WITH_KEEPER, memory_order_release);
    sem_post(&l->card_lost);
    l->next_silent_ns = eh_clock_ns();
}

static void take_card_if_ready(eh_live *l) {
    if (atomic_load_explicit(&l->card_owner, memory_order_acquire) != CARD_READY) return;
    atomic_store_explicit(&l->card_owner, CARD_WITH_AUDIO, memory_order_relaxed);
    const int error = eh_card_start(&l->card);
    if (error < 0) {
        give_card_up(l, error);
        return;
    }
    l->edge_ns = 0;
    if (l->secondary) eh_secondary_card_lost_frames(l->secondary);
    eh_segment_count(l->segment, EH_COUNT_CARD_RETURNS, 1);
    tell(l, EH_EVENT_CARD_BACK, 0);
    atomic_store(&l->segment->state, EH_STATE_RUNNING);
    l->last_good_ns = eh_clock_ns();
}

// The null frontend: silence in, sound thrown away, at the pace of a card. A second card is heard, and hears.
static void serve_silence(eh_live *l) {
    l->next_silent_ns += frames_to_ns(l, (uint64_t)l->config.card.period_frames);
    const uint64_t now_ns = eh_clock_ns();
    if (l->next_silent_ns + SECOND_NS < now_ns) l->next_silent_ns = now_ns;  // was stopped for long: do not catch up
    sleep_until(l->next_silent_ns);
    memset(l->in, 0, sizeof l->in);
    if (l->secondary) eh_secondary_card_take(l->secondary, l->in, (int64_t)l->next_silent_ns);
    mix_period(l);
    if (l->secondary) eh_secondary_card_give(l->secondary, l->out, (int64_t)l->next_silent_ns);
    atomic_store_explicit(&l->segment->engine_beat_ns, eh_clock_ns(), memory_order_relaxed);
}

static int has_faded_out(const eh_live *l) {
    return atomic_load_explicit(&l->is_stopping, memory_order_relaxed) && l->fade_at == 0;
}

// What was written last lies n_periods ahead of the card: serve on, silent, until it has been played.
static void play_out(eh_live *l) {
    for (int i = 0; i <= l->config.card.n_periods; i++)
        if (serve_period(l) < 0) return;
}

void *eh_audio_main(void *live) {
    eh_live *l = live;
    eh_denormals_flush();
    int n_failures = 0;
    l->next_silent_ns = eh_clock_ns();
    if (atomic_load(&l->card_owner) == CARD_READY) {
        atomic_store(&l->card_owner, CARD_WITH_AUDIO);
        if (eh_card_start(&l->card) < 0) n_failures = 1;
        atomic_store(&l->segment->state, EH_STATE_RUNNING);
    } else {
        atomic_store(&l->segment->state, EH_STATE_NO_CARD);
        sem_post(&l->card_lost);
    }
    for (;;) {
        const int has_card = atomic_load_explicit(&l->card_owner, memory_order_relaxed) == CARD_WITH_AUDIO;
        if (atomic_load_explicit(&l->is_stopping, memory_order_relaxed) && (!has_card || has_faded_out(l))) break;
        if (!has_card) {
            serve_silence(l);
            take_card_if_ready(l);
            n_failures = 0;
            continue;
        }
        const int error = serve_period(l);
        if (error == 0) {
            n_failures = 0;
        } else if (atomic_load_explicit(&l->is_stopping, memory_order_relaxed)) {
            break;  // nobody is left to hear a fade
        } else if (++n_failures > MAX_FAILURES) {
            give_card_up(l, error);
        } else {
            recover(l, error);
        }
    }
    if (atomic_load(&l->card_owner) == CARD_WITH_AUDIO) play_out(l);
    tell(l, EH_EVENT_STOPPED, 0);
    atomic_store(&l->segment->state, EH_STATE_STOPPED);
    return NULL;
}
