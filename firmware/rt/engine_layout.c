// Where everything lies: one arena, measured and then laid out by the same code, and which lane belongs to whom.
#include <string.h>

#include "engine_state.h"
#include "engine_threads.h"

enum { ALIGNMENT_BYTES = 64 };

typedef struct {
    char *next;  // NULL: only measuring
    size_t size_bytes;
} arena_cursor;

static void *take(arena_cursor *arena, size_t size_bytes) {
    const size_t rounded = (size_bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    void *memory = arena->next;
    if (arena->next) arena->next += rounded;
    arena->size_bytes += rounded;
    return memory;
}

static int round_up(int n) { return (n + EH_LANES_PER_VECTOR - 1) / EH_LANES_PER_VECTOR * EH_LANES_PER_VECTOR; }

static int count_lanes(const eh_engine_config *c) {
    int n = c->n_channels;
    for (int ch = 0; ch < c->n_channels; ch++) n += c->is_stereo[ch] ? 1 : 0;
    return round_up(n);
}

static eh_status check_config(const eh_engine_config *c) {
    if (!(c->sample_rate_hz >= 8000.0f && c->sample_rate_hz <= 192000.0f)) return EH_ERR_SAMPLE_RATE;
    if (c->n_channels < 1 || c->n_channels > EH_N_CHANNEL) return EH_ERR_ARGUMENT;
    if (c->n_capture_lanes < 1 || c->n_capture_lanes > EH_MAX_CAPTURE_LANES) return EH_ERR_LANES;
    return count_lanes(c) <= EH_MAX_LANES ? EH_OK : EH_ERR_LANES;
}

// Stereo strips first, each on an even lane, then the mono ones: linked lanes never straddle two vectors.
static void place_lanes(eh_engine *e) {
    for (int lane = 0; lane < EH_MAX_LANES; lane++) e->lane_channel[lane] = e->default_source[lane] = -1;
    int lane = 0;
    for (int pass = 0; pass < 2; pass++) {
        int capture = 0;
        for (int ch = 0; ch < e->config.n_channels; ch++) {
            const int width = e->config.is_stereo[ch] ? 2 : 1;
            if ((width == 2) == (pass == 0)) {
                e->first_lane[ch] = lane;
                for (int side = 0; side < width; side++, lane++) {
                    e->lane_channel[lane] = ch;
                    if (capture + side < e->config.n_capture_lanes) e->default_source[lane] = capture + side;
                }
            }
            capture += width;
        }
    }
    memcpy(e->source, e->default_source, sizeof e->source);
    e->taps_are_lanes = e->n_tap_lanes == e->n_lanes;
    for (int ch = 0; ch < e->config.n_channels; ch++)
        e->taps_are_lanes &= e->first_lane[ch] == ch && !e->config.is_stereo[ch];
}

static eh_status first_error(const eh_status *status, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (status[i] != EH_OK) return status[i];
    return EH_OK;
}

// Measures the arena when its cursor has no memory, lays the engine out when it has.
static eh_status lay_out(eh_engine *e, const eh_engine_config *c, arena_cursor *arena) {
    const float rate_hz = c->sample_rate_hz;
    const int n_lanes = count_lanes(c), n_tap_lanes = round_up(c->n_channels);
    void *align = take(arena, eh_align_size_bytes(rate_hz, n_lanes));
    void *hpf = take(arena, eh_eq_size_bytes(n_lanes, 1));
    void *eq = take(arena, eh_eq_size_bytes(n_lanes, N_STRIP_SECTIONS));
    void *compressor = take(arena, eh_compressor_size_bytes(n_lanes));
    void *saturation = take(arena, eh_saturation_size_bytes(n_lanes));
    void *automix = take(arena, eh_automix_size_bytes(n_lanes));
    void *reverb = take(arena, eh_reverb_size_bytes(rate_hz));
    void *delay = take(arena, eh_delay_size_bytes(rate_hz));
    void *bus_eq = take(arena, eh_eq_size_bytes(EH_N_OUTPUTS, N_BUS_SECTIONS));
    void *limiter = take(arena, eh_limiter_size_bytes(EH_N_OUTPUTS));
    void *loudness = take(arena, eh_loudness_size_bytes(rate_hz));
    void *taps = take(arena, eh_tap_ring_size_bytes(n_tap_lanes));
    void *features = take(arena, eh_features_size_bytes(rate_hz, c->n_channels));
    float *x = take(arena, eh_block_bytes(n_lanes));
    float *buses = take(arena, eh_block_bytes(N_BUSES));
    float *tap = take(arena, eh_block_bytes(n_tap_lanes));
    float *key = take(arena, eh_block_bytes(EH_LANES_PER_VECTOR));
    float *sends = take(arena, eh_block_bytes(N_FX));
    float *wets = take(arena, eh_block_bytes(N_FX * EH_N_WET));
    float *monitor = take(arena, eh_block_bytes(EH_LANES_PER_VECTOR));
    if (!arena->next) return EH_OK;
    e->n_lanes = n_lanes;
    e->n_tap_lanes = n_tap_lanes;
    e->x = x;
    e->buses = buses;
    e->tap = tap;
    e->key = key;
    for (int fx = 0; fx < N_FX; fx++) {
        e->send[fx] = sends + (size_t)fx * EH_MAX_BLOCK_FRAMES;
        e->wet[fx] = wets + (size_t)fx * EH_MAX_BLOCK_FRAMES * EH_N_WET;
    }
    e->monitor = monitor;
    eh_tap_ring_init(&e->taps, n_tap_lanes, taps);
    const eh_status status[] = {
        eh_gain_init(&e->trim, rate_hz, n_lanes),
        eh_align_init(&e->align, rate_hz, n_lanes, align),
        eh_eq_init(&e->hpf, rate_hz, n_lanes, 1, hpf),
        eh_gate_init(&e->gate, rate_hz, n_lanes),
        eh_eq_init(&e->eq, rate_hz, n_lanes, N_STRIP_SECTIONS, eq),
        eh_compressor_init(&e->compressor, rate_hz, n_lanes, compressor),
        eh_saturation_init(&e->saturation, rate_hz, n_lanes, saturation),
        eh_automix_init(&e->automix, rate_hz, n_lanes, automix),
        eh_ducker_init(&e->ducker, rate_hz, n_lanes),
        eh_mix_init(&e->key_mix, rate_hz, n_lanes, EH_LANES_PER_VECTOR),
        eh_mix_init(&e->pre_mix, rate_hz, n_lanes, N_BUSES),
        eh_mix_init(&e->post_mix, rate_hz, n_lanes, N_BUSES),
        eh_reverb_init(&e->reverb, rate_hz, reverb),
        eh_delay_init(&e->delay, rate_hz, delay),
        eh_eq_init(&e->bus_eq, rate_hz, EH_N_OUTPUTS, N_BUS_SECTIONS, bus_eq),
        eh_ducker_init(&e->bus_ducker, rate_hz, EH_N_OUTPUTS),
        eh_gain_init(&e->bus_gain, rate_hz, EH_N_OUTPUTS),
        eh_gain_init(&e->monitor_feed, rate_hz, EH_LANES_PER_VECTOR),
        eh_limiter_init(&e->limiter, rate_hz, EH_N_OUTPUTS, limiter),
        eh_gain_init(&e->panic, rate_hz, EH_N_OUTPUTS),
        eh_loudness_init(&e->loudness, rate_hz, loudness),
        eh_meters_init(&e->input_meters, rate_hz, n_lanes),
        eh_meters_init(&e->output_meters, rate_hz, n_lanes),
        eh_meters_init(&e->bus_meters, rate_hz, EH_N_OUTPUTS),
        eh_features_init(&e->features, rate_hz, c->n_channels, features),
        eh_chroma_init(&e->chroma, rate_hz),
    };
    return first_error(status, sizeof status / sizeof status[0]);
}

size_t eh_engine_size_bytes(const eh_engine_config *config) {
    if (check_config(config) != EH_OK) return 0;
    arena_cursor arena = {.next = NULL};
    take(&arena, sizeof(eh_engine));
    lay_out(NULL, config, &arena);
    return arena.size_bytes;
}

static void link_stereo(eh_engine *e) {
    for (int ch = 0; ch < e->config.n_channels; ch++)
        if (e->config.is_stereo[ch]) {
            eh_gate_link(&e->gate, e->first_lane[ch], 1);
            eh_compressor_link(&e->compressor, e->first_lane[ch], 1);
        }
    for (int lane = 0; lane < e->n_lanes; lane++) eh_automix_map_lane(&e->automix, lane, e->lane_channel[lane]);
    eh_limiter_link(&e->limiter, BUS_MAIN_L, 1);
    eh_limiter_link(&e->limiter, BUS_RECORD_L, 1);
    eh_limiter_link(&e->limiter, BUS_MONITOR_L, 1);
}

eh_status eh_engine_init(eh_engine **engine, const eh_engine_config *config, void *memory) {
    const eh_status checked = check_config(config);
    if (checked != EH_OK) return checked;
    memset(memory, 0, eh_engine_size_bytes(config));
    arena_cursor arena = {.next = memory};
    eh_engine *e = take(&arena, sizeof *e);
    e->config = *config;
    const eh_status status = lay_out(e, config, &arena);
    if (status != EH_OK) return status;
    place_lanes(e);
    link_stereo(e);
    eh_mailbox_init(&e->own_mailbox);
    e->mailbox = &e->own_mailbox;
    // Parameters that no range contains: the defaults differ from them everywhere, so all kernels are set once.
    memset(&e->params, 0xff, sizeof e->params);
    eh_params defaults;
    eh_params_set_defaults(&defaults);
    eh_engine_take_over(e, &defaults);
    e->stats = (eh_engine_stats){0};
    eh_engine_reset(e);
    *engine = e;
    return EH_OK;
}

void eh_engine_jump(eh_engine *e) {
    eh_gain_reset(&e->trim);
    eh_align_reset(&e->align);
    eh_eq_reset(&e->hpf);
    eh_eq_reset(&e->eq);
    eh_gate_reset(&e->gate);
    eh_compressor_reset(&e->compressor);
    eh_saturation_reset(&e->saturation);
    eh_automix_reset(&e->automix);
    eh_ducker_reset(&e->ducker);
    eh_mix_reset(&e->key_mix);
    eh_mix_reset(&e->pre_mix);
    eh_mix_reset(&e->post_mix);
    eh_reverb_reset(&e->reverb);
    eh_delay_reset(&e->delay);
    eh_eq_reset(&e->bus_eq);
    eh_ducker_reset(&e->bus_ducker);
    eh_gain_reset(&e->bus_gain);
    eh_gain_reset(&e->monitor_feed);
    eh_limiter_reset(&e->limiter);
    eh_gain_reset(&e->panic);
}

void eh_engine_reset(eh_engine *e) {
    eh_engine_jump(e);
    eh_loudness_reset(&e->loudness);
    eh_meters_reset(&e->input_meters);
    eh_meters_reset(&e->output_meters);
    eh_meters_reset(&e->bus_meters);
    eh_features_reset(&e->features);
    eh_chroma_reset(&e->chroma);
    memset(e->n_bad, 0, sizeof e->n_bad);
    memset(e->n_clipped, 0, sizeof e->n_clipped);
    e->stats = (eh_engine_stats){.n_snapshots = e->stats.n_snapshots, .n_clamped = e->stats.n_clamped};
    e->is_fresh = 1;
}

void eh_engine_use_mailbox(eh_engine *e, eh_mailbox *mailbox) { e->mailbox = mailbox; }

void eh_engine_publish(eh_engine *e, const eh_params *params) { eh_mailbox_write(e->mailbox, params); }

int eh_engine_latency_frames(const eh_engine *e) {
    (void)e;
    return EH_LIMITER_LOOKAHEAD_FRAMES;
}
