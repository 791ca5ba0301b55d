// A thread that moves whole periods between a card and two links, at that card's own pace. It is not the audio thread:
// it may open and close.
#include "secondary_card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_FAILURES = 5,  // in a row, without one good period, whatever the card calls them: it is gone
    FIRST_BACK_OFF_MS = 1,
    LAST_BACK_OFF_MS = 500,
    ALIGNMENT_BYTES = 64,
};

static const int64_t SECOND_NS = 1000000000;

struct eh_secondary_card {
    eh_card card;  // its capture is patched to the lanes of the link
    eh_segment *segment;
    int n_mixer_lanes, n_mixer_frames;     // of a period
    int n_lanes;                           // of the link to the mixer that are in use
    int mixer_lane[EH_MAX_CARD_CHANNELS];  // by lane of the link
    eh_secondary *to_mixer, *to_card;      // NULL where the card has no such direction
    void *to_mixer_arena, *to_card_arena;
    int n_late_frames;  // of the card, that sound to it is on its way
    atomic_int is_done, last_error;
    atomic_uint n_losses, n_returns;

    // Audio thread only.
    unsigned told_losses, told_returns;
    uint32_t told_gaps_to_mixer;
    _Alignas(64) float taken[EH_MAX_PERIOD_FRAMES * EH_MAX_CARD_CHANNELS];

    // The card's thread only.
    eh_live_state state;
    uint32_t told_gaps_to_card;
    _Alignas(64) float in[EH_MAX_PERIOD_FRAMES * EH_MAX_CARD_CHANNELS];
    _Alignas(64) float out[EH_MAX_PERIOD_FRAMES * EH_N_OUTPUTS];
};

// ---------------------------------------------------------------------------------------------------------- make

static void *zeroed(size_t n_bytes) {
    n_bytes = (n_bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    void *memory = aligned_alloc(ALIGNMENT_BYTES, n_bytes);
    if (memory) memset(memory, 0, n_bytes);
    return memory;
}

// Of the lanes and channels only those that are in use; a direction without any is not opened.
static int patch(eh_secondary_card *c, const eh_live_config *config, char *why) {
    eh_card_config *card = &c->card.config;
    *card = config->secondary;
    for (int lane = 0; lane < card->n_capture_lanes; lane++) {
        if (config->secondary.capture_channel[lane] < 0) continue;
        if (config->card.capture_channel[lane] >= 0) {
            snprintf(why, EH_WHY_BYTES, "lane %d is fed by two cards; it can hear one", lane + 1);
            return -1;
        }
        c->mixer_lane[c->n_lanes] = lane;
        card->capture_channel[c->n_lanes++] = config->secondary.capture_channel[lane];
    }
    card->n_capture_lanes = (c->n_lanes + EH_LANES_PER_VECTOR - 1) / EH_LANES_PER_VECTOR * EH_LANES_PER_VECTOR;
    for (int lane = c->n_lanes; lane < card->n_capture_lanes; lane++) card->capture_channel[lane] = -1;
    int has_output = 0;
    for (int channel = 0; channel < card->n_playback; channel++) has_output |= card->playback_output[channel] >= 0;
    if (c->n_lanes == 0) card->n_capture = 0;
    if (!has_output) card->n_playback = 0;
    if (c->n_lanes > 0 || has_output) return 0;
    snprintf(why, EH_WHY_BYTES, "the second card has no lane and no output of the mixer; patch one or leave it out");
    return -1;
}

static eh_secondary_config link_of(int writer_hz, int writer_frames, int reader_hz, int reader_frames, int slack_ms) {
    const double read_frames = (double)reader_frames * writer_hz / reader_hz;
    return (eh_secondary_config){
        .writer_rate_hz = writer_hz,
        .reader_rate_hz = reader_hz,
        .max_write_frames = writer_frames,
        .max_read_frames = reader_frames,
        .target_frames =
            writer_frames + (int)read_frames + 1 + EH_SECONDARY_RESERVE_FRAMES + (int)(slack_ms * 1e-3 * writer_hz),
    };
}

static eh_secondary *make_link(const eh_secondary_config *config, void **arena, char *why) {
    const size_t n_bytes = eh_secondary_size_bytes(config);
    eh_secondary *link = NULL;
    if (n_bytes == 0) {
        snprintf(why, EH_WHY_BYTES, "cards at %.0f and %.0f Hz, %d frames late, cannot be bridged",
                 config->writer_rate_hz, config->reader_rate_hz, config->target_frames);
        return NULL;
    }
    *arena = zeroed(n_bytes);
    if (!*arena || eh_secondary_init(&link, config, *arena) != EH_OK)
        snprintf(why, EH_WHY_BYTES, "no memory for the second card");
    return link;
}

static int make_links(eh_secondary_card *c, const eh_live_config *config, char *why) {
    const eh_card_config *main = &config->card, *card = &c->card.config;
    if (card->n_capture > 0) {
        eh_secondary_config link = link_of(card->sample_rate_hz, card->period_frames, main->sample_rate_hz,
                                           main->period_frames, config->secondary_slack_ms);
        link.n_lanes = card->n_capture_lanes;
        if (!(c->to_mixer = make_link(&link, &c->to_mixer_arena, why))) return -1;
    }
    if (card->n_playback > 0) {
        eh_secondary_config link = link_of(main->sample_rate_hz, main->period_frames, card->sample_rate_hz,
                                           card->period_frames, config->secondary_slack_ms);
        link.n_lanes = EH_N_OUTPUTS;
        if (!(c->to_card = make_link(&link, &c->to_card_arena, why))) return -1;
        c->n_late_frames =
            (int)(eh_secondary_delay_frames(&link) * (int64_t)card->sample_rate_hz / main->sample_rate_hz);
    }
    return 0;
}

eh_secondary_card *eh_secondary_card_make(const eh_live_config *config, eh_segment *segment, char *why) {
    if (config->secondary.n_capture_lanes != config->card.n_capture_lanes || config->secondary_slack_ms < 0 ||
        config->secondary_slack_ms > 1000) {
        snprintf(why, EH_WHY_BYTES, "the second card has %d lanes of the mixer's %d, and %d ms of 0 to 1000 to be late",
                 config->secondary.n_capture_lanes, config->card.n_capture_lanes, config->secondary_slack_ms);
        return NULL;
    }
    if (eh_card_check(&config->secondary, why) < 0) return NULL;
    eh_secondary_card *c = zeroed(sizeof *c);
    if (!c) {
        snprintf(why, EH_WHY_BYTES, "no memory for the second card");
        return NULL;
    }
    c->segment = segment;
    c->n_mixer_lanes = config->card.n_capture_lanes;
    c->n_mixer_frames = config->card.period_frames;
    if (patch(c, config, why) < 0 || make_links(c, config, why) < 0) {
        eh_secondary_card_free(c);
        return NULL;
    }
    return c;
}

void eh_secondary_card_free(eh_secondary_card *c) {
    if (!c) return;
    free(c->to_mixer_arena);
    free(c->to_card_arena);
    free(c);
}

static void count_gaps(eh_secondary_card *c, const eh_secondary_stats *stats, uint32_t *told) {
    const uint32_t n_gaps = stats->n_starved + stats->n_gaps + stats->n_recentred;
    eh_segment_count(c->segment, EH_COUNT_SECONDARY_GAPS, n_gaps - *told);
    *told = n_gaps;
}

static void show_ppm(eh_secondary_card *c, double ppm) {
    atomic_store_explicit(&c->segment->secondary_ppm_x1000, (int)(ppm * 1000.0), memory_order_relaxed);
}

// -------------------------------------------------------------------------------------------------- audio thread

void eh_secondary_card_take(eh_secondary_card *c, float *in, int64_t edge_ns) {
    if (!c->to_mixer) return;
    const int stride = c->card.config.n_capture_lanes;
    eh_secondary_read(c->to_mixer, c->taken, (size_t)c->n_mixer_frames, edge_ns);
    for (int n = 0; n < c->n_mixer_frames; n++, in += c->n_mixer_lanes)
        for (int lane = 0; lane < c->n_lanes; lane++) in[c->mixer_lane[lane]] = c->taken[n * stride + lane];
}

void eh_secondary_card_give(eh_secondary_card *c, const float *out, int64_t edge_ns) {
    if (c->to_card) eh_secondary_write(c->to_card, out, (size_t)c->n_mixer_frames, edge_ns);
}

void eh_secondary_card_lost_frames(eh_secondary_card *c) {
    if (c->to_mixer) eh_secondary_reader_lost_frames(c->to_mixer);
    if (c->to_card) eh_secondary_writer_lost_frames(c->to_card);
}

static void tell(eh_secondary_card *c, eh_event_kind kind, uint64_t frame, int64_t value) {
    const eh_event event = {.frame = frame, .time_ns = eh_clock_ns(), .value = value, .kind = kind};
    eh_segment_tell(c->segment, &event);
}

void eh_secondary_card_tell(eh_secondary_card *c, uint64_t frame) {
    if (c->to_mixer) {
        const eh_secondary_stats stats = eh_secondary_read_stats(c->to_mixer);
        count_gaps(c, &stats, &c->told_gaps_to_mixer);
        show_ppm(c, stats.drift_ppm);
    }
    const unsigned n_losses = atomic_load_explicit(&c->n_losses, memory_order_acquire);
    const unsigned n_returns = atomic_load_explicit(&c->n_returns, memory_order_acquire);
    if (n_losses != c->told_losses)
        tell(c, EH_EVENT_SECONDARY_LOST, frame, atomic_load_explicit(&c->last_error, memory_order_relaxed));
    if (n_returns != c->told_returns) tell(c, EH_EVENT_SECONDARY_BACK, frame, 0);
    c->told_losses = n_losses;
    c->told_returns = n_returns;
}

// ------------------------------------------------------------------------------------------------- card's thread

static void lose_frames(eh_secondary_card *c) {
    if (c->to_mixer) eh_secondary_writer_lost_frames(c->to_mixer);
    if (c->to_card) eh_secondary_reader_lost_frames(c->to_card);
}

static int serve_period(eh_secondary_card *c) {
    const eh_card_config *card = &c->card.config;
    const size_t n_frames = (size_t)card->period_frames;
    int late_frames = 0;
    const int error = c->to_mixer ? eh_card_read(&c->card, c->in, &late_frames) : eh_card_await(&c->card, &late_frames);
    if (error < 0) return error;
    const int64_t edge_ns = (int64_t)eh_clock_ns() - late_frames * SECOND_NS / card->sample_rate_hz;
    if (c->to_mixer) eh_secondary_write(c->to_mixer, c->in, n_frames, edge_ns);
    if (!c->to_card) return 0;
    eh_secondary_read(c->to_card, c->out, n_frames, edge_ns);
    return eh_card_write(&c->card, c->out);
}

static void show_state(eh_secondary_card *c, eh_live_state state, const char *trouble) {
    c->state = state;
    eh_trouble_set(&c->segment->secondary_trouble, trouble);
    atomic_store(&c->segment->secondary_state, state);
}

static void note_period(eh_secondary_card *c) {
    if (c->to_card) {
        const eh_secondary_stats stats = eh_secondary_read_stats(c->to_card);
        count_gaps(c, &stats, &c->told_gaps_to_card);
        if (!c->to_mixer) show_ppm(c, -stats.drift_ppm);  // there the mixer writes
    }
    if (c->state == EH_STATE_RUNNING) return;
    if (c->state == EH_STATE_NO_CARD) {
        eh_segment_count(c->segment, EH_COUNT_SECONDARY_RETURNS, 1);
        atomic_fetch_add_explicit(&c->n_returns, 1, memory_order_release);
    }
    show_state(c, EH_STATE_RUNNING, "");
}

// The audio thread has ended; its last sound lies on the link and in the card.
static void play_out(eh_secondary_card *c) {
    const int n_periods = c->n_late_frames / c->card.config.period_frames + c->card.config.n_periods + 1;
    for (int i = 0; c->to_card && i < n_periods; i++)
        if (serve_period(c) < 0) return;
}

// Returns what ended it, or 0 when it was told to end.
static int serve_until_lost(eh_secondary_card *c) {
    lose_frames(c);
    int error = eh_card_start(&c->card);
    for (int n_failures = 0;;) {
        if (error == 0) error = serve_period(c);
        if (atomic_load_explicit(&c->is_done, memory_order_relaxed)) {
            if (error == 0) play_out(c);
            return 0;
        }
        if (error == 0) {
            n_failures = 0;
            note_period(c);
            continue;
        }
        if (++n_failures > MAX_FAILURES) return error;
        lose_frames(c);
        error = eh_card_restart(&c->card, error);
        if (error == 0) eh_segment_count(c->segment, EH_COUNT_SECONDARY_XRUNS, 1);
    }
}

static void note_absence(eh_secondary_card *c, int error, const char *why) {
    if (c->state == EH_STATE_RUNNING) {
        atomic_store_explicit(&c->last_error, error, memory_order_relaxed);
        eh_segment_count(c->segment, EH_COUNT_SECONDARY_LOSSES, 1);
        atomic_fetch_add_explicit(&c->n_losses, 1, memory_order_release);
    }
    show_state(c, EH_STATE_NO_CARD, why);
}

// One attempt; whether a good period came of it.
static int open_and_serve(eh_secondary_card *c) {
    const eh_card_config *card = &c->card.config;
    char why[EH_WHY_BYTES];
    int error = eh_card_open(&c->card, why);
    if (error == 0) {
        error = serve_until_lost(c);
        eh_card_close(&c->card);
        snprintf(why, sizeof why, "%s: %s", c->to_mixer ? card->capture_pcm : card->playback_pcm, snd_strerror(error));
    }
    const int has_run = c->state == EH_STATE_RUNNING;
    if (error < 0) note_absence(c, error, why);
    return has_run;
}

void *eh_secondary_card_main(void *secondary_card) {
    eh_secondary_card *c = secondary_card;
    eh_denormals_flush();
    for (int pause_ms = FIRST_BACK_OFF_MS; !atomic_load(&c->is_done);) {
        if (open_and_serve(c)) pause_ms = FIRST_BACK_OFF_MS;
        if (atomic_load(&c->is_done)) break;
        const struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000L};
        nanosleep(&pause, NULL);
        pause_ms = pause_ms * 2 < LAST_BACK_OFF_MS ? pause_ms * 2 : LAST_BACK_OFF_MS;
    }
    return NULL;
}

void eh_secondary_card_end(eh_secondary_card *c) { atomic_store(&c->is_done, 1); }
