// The fixed graph: strips, gain sharing, buses, effects, outputs.
#include "engine_state.h"
#include "simd.h"
#include "units.h"

#include <string.h>

enum { ALIGNMENT_BYTES = 64, VECTOR = EH_LANES_PER_VECTOR, N_WET = 2 };

// A float beyond this (+18 dBFS) is no sound but a fault.
static const float INPUT_LIMIT_LIN = 8.0f;

// --------------------------------------------------------------------------------------------------------- arena

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

static size_t block_bytes(int n_lanes) { return EH_MAX_BLOCK_FRAMES * (size_t)n_lanes * sizeof(float); }

static int round_up(int n) { return (n + VECTOR - 1) / VECTOR * VECTOR; }

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
    float *x = take(arena, block_bytes(n_lanes));
    float *buses = take(arena, block_bytes(N_BUSES));
    float *tap = take(arena, block_bytes(n_tap_lanes));
    float *key = take(arena, block_bytes(VECTOR));
    float *sends = take(arena, block_bytes(N_FX));
    float *wets = take(arena, block_bytes(N_FX * N_WET));
    float *monitor = take(arena, block_bytes(VECTOR));
    if (!arena->next) return EH_OK;
    e->n_lanes = n_lanes;
    e->n_tap_lanes = n_tap_lanes;
    e->x = x;
    e->buses = buses;
    e->tap = tap;
    e->key = key;
    for (int fx = 0; fx < N_FX; fx++) {
        e->send[fx] = sends + (size_t)fx * EH_MAX_BLOCK_FRAMES;
        e->wet[fx] = wets + (size_t)fx * EH_MAX_BLOCK_FRAMES * N_WET;
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
        eh_mix_init(&e->key_mix, rate_hz, n_lanes, VECTOR),
        eh_mix_init(&e->pre_mix, rate_hz, n_lanes, N_BUSES),
        eh_mix_init(&e->post_mix, rate_hz, n_lanes, N_BUSES),
        eh_reverb_init(&e->reverb, rate_hz, reverb),
        eh_delay_init(&e->delay, rate_hz, delay),
        eh_eq_init(&e->bus_eq, rate_hz, EH_N_OUTPUTS, N_BUS_SECTIONS, bus_eq),
        eh_ducker_init(&e->bus_ducker, rate_hz, EH_N_OUTPUTS),
        eh_gain_init(&e->bus_gain, rate_hz, EH_N_OUTPUTS),
        eh_gain_init(&e->monitor_feed, rate_hz, VECTOR),
        eh_limiter_init(&e->limiter, rate_hz, EH_N_OUTPUTS, limiter),
        eh_gain_init(&e->panic, rate_hz, EH_N_OUTPUTS),
        eh_loudness_init(&e->loudness, rate_hz, loudness),
        eh_meters_init(&e->input_meters, rate_hz, n_lanes),
        eh_meters_init(&e->output_meters, rate_hz, n_lanes),
        eh_meters_init(&e->bus_meters, rate_hz, EH_N_OUTPUTS),
        eh_features_init(&e->features, rate_hz, c->n_channels, features),
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
    eh_mailbox_init(&e->mailbox);
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

static void jump_to_parameters(eh_engine *e) {
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
    jump_to_parameters(e);
    eh_loudness_reset(&e->loudness);
    eh_meters_reset(&e->input_meters);
    eh_meters_reset(&e->output_meters);
    eh_meters_reset(&e->bus_meters);
    eh_features_reset(&e->features);
    memset(e->n_bad, 0, sizeof e->n_bad);
    memset(e->n_clipped, 0, sizeof e->n_clipped);
    e->stats = (eh_engine_stats){.n_snapshots = e->stats.n_snapshots, .n_clamped = e->stats.n_clamped};
    e->is_fresh = 1;
}

void eh_engine_publish(eh_engine *e, const eh_params *params) { eh_mailbox_write(&e->mailbox, params); }

int eh_engine_latency_frames(const eh_engine *e) {
    (void)e;
    return EH_LIMITER_LOOKAHEAD_FRAMES;
}

// ------------------------------------------------------------------------------------------------------- process

static void patch_in(eh_engine *e, const float *in, size_t n_frames) {
    if (e->is_straight) {
        eh_scrub(in, e->x, n_frames, e->n_lanes, INPUT_LIMIT_LIN, e->n_bad, e->n_clipped);
        return;
    }
    const size_t n_capture = (size_t)e->config.n_capture_lanes, n_lanes = (size_t)e->n_lanes;
    for (size_t lane = 0; lane < n_lanes; lane++) {
        const int source = e->source[lane];
        for (size_t n = 0; n < n_frames; n++)
            e->x[n * n_lanes + lane] = source >= 0 ? in[n * n_capture + (size_t)source] : 0.0f;
    }
    eh_scrub(e->x, e->x, n_frames, e->n_lanes, INPUT_LIMIT_LIN, e->n_bad, e->n_clipped);
}

// One lane a channel: stereo strips by their middle.
static const float *tap_of_channels(eh_engine *e, size_t n_frames) {
    if (e->taps_are_lanes) return e->x;
    const size_t n_lanes = (size_t)e->n_lanes, n_taps = (size_t)e->n_tap_lanes;
    for (int ch = 0; ch < e->config.n_channels; ch++) {
        const float *a = e->x + e->first_lane[ch], *b = a + (e->config.is_stereo[ch] ? 1 : 0);
        for (size_t n = 0; n < n_frames; n++)
            e->tap[n * n_taps + (size_t)ch] = 0.5f * (a[n * n_lanes] + b[n * n_lanes]);
    }
    return e->tap;
}

static void reset_strip_lane(eh_engine *e, int lane) {
    eh_align_reset_lane(&e->align, lane);
    eh_eq_reset_lane(&e->hpf, lane);
    eh_gate_reset_lane(&e->gate, lane);
    eh_eq_reset_lane(&e->eq, lane);
    eh_compressor_reset_lane(&e->compressor, lane);
    eh_saturation_reset_lane(&e->saturation, lane);
    eh_meters_reset_lane(&e->input_meters, lane);
    if (e->lane_channel[lane] >= 0) eh_automix_reset_channel(&e->automix, e->lane_channel[lane]);
}

// Bit i of the result: lane first + i holds a sample that is not finite.
static int unfinite_lanes(const float *x, size_t n_frames, size_t n_lanes) {
    v4 sum = v4_set1(0.0f);
    for (size_t n = 0; n < n_frames; n++) sum = v4_fma(v4_load(x + n * n_lanes), v4_set1(0.0f), sum);
    int bits = 0;
    for (int i = 0; i < VECTOR; i++) bits |= (sum[i] == 0.0f ? 0 : 1) << i;
    return bits;
}

static void silence_lane(float *x, size_t n_frames, size_t n_lanes) {
    for (size_t n = 0; n < n_frames; n++) x[n * n_lanes] = 0.0f;
}

// One pass over all lanes, in memory order: zero times a finite number is zero.
static int is_all_finite(const float *x, size_t n_samples) {
    const v4 zero = v4_set1(0.0f);
    v4 a = zero, b = zero, c = zero, d = zero;
    size_t i = 0;
    for (; i + 4 * VECTOR <= n_samples; i += 4 * VECTOR) {
        a = v4_fma(v4_load(x + i), zero, a);
        b = v4_fma(v4_load(x + i + VECTOR), zero, b);
        c = v4_fma(v4_load(x + i + 2 * VECTOR), zero, c);
        d = v4_fma(v4_load(x + i + 3 * VECTOR), zero, d);
    }
    for (; i < n_samples; i += VECTOR) a = v4_fma(v4_load(x + i), zero, a);
    return !v4_any(((a + b) + (c + d)) != zero);
}

// The last guard: whatever went wrong in a lane stays in that lane, for this block.
static void heal_strips(eh_engine *e, size_t n_frames) {
    if (is_all_finite(e->x, n_frames * (size_t)e->n_lanes)) return;
    for (int first = 0; first < e->n_lanes; first += VECTOR) {
        const int bits = unfinite_lanes(e->x + first, n_frames, (size_t)e->n_lanes);
        for (int i = 0; bits >> i; i++) {
            if (!(bits >> i & 1)) continue;
            silence_lane(e->x + first + i, n_frames, (size_t)e->n_lanes);
            reset_strip_lane(e, first + i);
            e->stats.n_healed++;
        }
    }
}

static void heal_outputs(eh_engine *e, float *out, size_t n_frames) {
    if (is_all_finite(out, n_frames * EH_N_OUTPUTS)) return;
    for (int first = 0; first < EH_N_OUTPUTS; first += VECTOR) {
        const int bits = unfinite_lanes(out + first, n_frames, EH_N_OUTPUTS);
        for (int i = 0; bits >> i; i++) {
            if (!(bits >> i & 1)) continue;
            silence_lane(out + first + i, n_frames, EH_N_OUTPUTS);
            eh_eq_reset_lane(&e->bus_eq, first + i);
            eh_limiter_reset_lane(&e->limiter, first + i);
            eh_meters_reset_lane(&e->bus_meters, first + i);
            eh_reverb_reset(&e->reverb);
            eh_delay_reset(&e->delay);
            e->stats.n_healed++;
        }
    }
}

static void process_strips(eh_engine *e, size_t n_frames) {
    const int has_room = eh_tap_ring_has_room(&e->taps, n_frames);
    eh_gain_process(&e->trim, e->x, e->x, n_frames);
    eh_align_process(&e->align, e->x, e->x, n_frames);
    eh_meters_process(&e->input_meters, e->x, n_frames);
    if (has_room) eh_tap_ring_put_input(&e->taps, tap_of_channels(e, n_frames), n_frames);
    eh_eq_process(&e->hpf, e->x, e->x, n_frames);
    eh_gate_process(&e->gate, e->x, e->x, n_frames);
    eh_eq_process(&e->eq, e->x, e->x, n_frames);
    eh_compressor_process(&e->compressor, e->x, e->x, n_frames);
    eh_saturation_process(&e->saturation, e->x, e->x, n_frames);
    heal_strips(e, n_frames);
    if (has_room) {
        eh_tap_ring_put_strip(&e->taps, tap_of_channels(e, n_frames), n_frames);
        eh_tap_ring_commit(&e->taps, n_frames);
    }
}

// What ducks: one bus. Without a key channel, fading ones included, there is nothing to mix.
static void mix_key(eh_engine *e, size_t n_frames) {
    e->has_key = eh_mix_is_active(&e->key_mix);
    if (!e->has_key) return;
    memset(e->key, 0, n_frames * sizeof(v4));
    eh_mix_process(&e->key_mix, e->x, e->key, n_frames);
    for (size_t n = 0; n < n_frames; n++) e->key[n] = e->key[n * VECTOR];
}

static void share_and_duck(eh_engine *e, size_t n_frames) {
    eh_automix_process(&e->automix, e->x, e->x, n_frames);
    mix_key(e, n_frames);
    eh_ducker_process(&e->ducker, e->has_key ? e->key : NULL, e->x, e->x, n_frames);
    eh_meters_process(&e->output_meters, e->x, n_frames);
}

static void deliver_channels(const eh_engine *e, float *channels, size_t n_frames) {
    const size_t n_out = 2 * (size_t)e->config.n_channels;
    memset(channels, 0, n_frames * n_out * sizeof(float));
    for (int lane = 0; lane < e->n_lanes; lane++) {
        if (e->lane_channel[lane] < 0) continue;
        float *out = channels + 2 * e->lane_channel[lane];
        for (size_t n = 0; n < n_frames; n++)
            for (int side = 0; side < 2; side++)
                out[n * n_out + (size_t)side] += e->x[n * (size_t)e->n_lanes + (size_t)lane] *
                                                 eh_mix_gain_lin(&e->post_mix, lane, BUS_MAIN_L + side, n);
    }
}

static void process_effects(eh_engine *e, size_t n_frames) {
    const float *buses = e->buses;
    for (size_t n = 0; n < n_frames; n++, buses += N_BUSES) {
        e->send[FX_REVERB][n] = buses[BUS_REVERB];
        e->send[FX_DELAY][n] = buses[BUS_DELAY];
    }
    eh_reverb_process(&e->reverb, e->send[FX_REVERB], e->wet[FX_REVERB], n_frames);
    eh_delay_process(&e->delay, e->send[FX_DELAY], e->wet[FX_DELAY], n_frames);
}

static v4 stereo_twice(const float *pair) { return (v4){pair[0], pair[1], pair[0], pair[1]}; }

// The outputs out of the buses; both effects join main and record.
static void collect_outputs(const eh_engine *e, float *out, size_t n_frames) {
    const float *buses = e->buses, *reverb = e->wet[FX_REVERB], *delay = e->wet[FX_DELAY];
    for (size_t n = 0; n < n_frames; n++, buses += N_BUSES, out += EH_N_OUTPUTS, reverb += N_WET, delay += N_WET) {
        v4_store(out, v4_load(buses) + stereo_twice(reverb) + stereo_twice(delay));
        v4_store(out + VECTOR, v4_load(buses + VECTOR));
        v4_store(out + 2 * VECTOR, v4_load(buses + 2 * VECTOR));
    }
}

// Without solo the engineer hears the main mix, as it goes to its limiter.
static void feed_monitor(eh_engine *e, float *out, size_t n_frames) {
    float *main_mix = e->monitor;
    for (size_t n = 0; n < n_frames; n++) memcpy(main_mix + n * VECTOR, out + n * EH_N_OUTPUTS, sizeof(v4));
    eh_gain_process(&e->monitor_feed, main_mix, main_mix, n_frames);
    for (size_t n = 0; n < n_frames; n++, out += EH_N_OUTPUTS, main_mix += VECTOR) {
        out[BUS_MONITOR_L] += main_mix[0];
        out[BUS_MONITOR_R] += main_mix[1];
    }
}

static void process_outputs(eh_engine *e, float *out, size_t n_frames) {
    collect_outputs(e, out, n_frames);
    eh_eq_process(&e->bus_eq, out, out, n_frames);
    eh_ducker_process(&e->bus_ducker, e->has_key ? e->key : NULL, out, out, n_frames);
    eh_gain_process(&e->bus_gain, out, out, n_frames);
    feed_monitor(e, out, n_frames);
    eh_limiter_process(&e->limiter, out, out, n_frames);
    eh_gain_process(&e->panic, out, out, n_frames);
    heal_outputs(e, out, n_frames);
    eh_meters_process(&e->bus_meters, out, n_frames);
    eh_loudness_process(&e->loudness, out, EH_N_OUTPUTS, BUS_RECORD_L, n_frames);
}

static void process_block(eh_engine *e, const float *in, float *out, float *channels, size_t n_frames) {
    patch_in(e, in, n_frames);
    process_strips(e, n_frames);
    memset(e->buses, 0, n_frames * N_BUSES * sizeof(float));
    eh_mix_process(&e->pre_mix, e->x, e->buses, n_frames);
    share_and_duck(e, n_frames);
    if (channels) deliver_channels(e, channels, n_frames);
    eh_mix_process(&e->post_mix, e->x, e->buses, n_frames);
    process_effects(e, n_frames);
    process_outputs(e, out, n_frames);
    e->stats.n_frames += n_frames;
}

static void take_over_if_new(eh_engine *e) {
    const eh_params *newest = eh_mailbox_read(&e->mailbox);
    if (newest) eh_engine_take_over(e, newest);
    if (newest && e->is_fresh) jump_to_parameters(e);
    e->is_fresh = 0;
}

void eh_engine_process(eh_engine *e, const float *in, float *out, float *channels, size_t n_frames) {
    const unsigned control = eh_denormals_flush();
    if (n_frames > 0) take_over_if_new(e);
    const size_t n_capture = (size_t)e->config.n_capture_lanes, n_delivered = 2 * (size_t)e->config.n_channels;
    while (n_frames > 0) {
        const size_t n = n_frames < EH_MAX_BLOCK_FRAMES ? n_frames : EH_MAX_BLOCK_FRAMES;
        process_block(e, in, out, channels, n);
        in += n * n_capture;
        out += n * EH_N_OUTPUTS;
        if (channels) channels += n * n_delivered;
        n_frames -= n;
    }
    eh_denormals_restore(control);
}

// ------------------------------------------------------------------------------------------------------ analysis

int eh_engine_analyse(eh_engine *e) {
    const unsigned control = eh_denormals_flush();
    const float *input, *strip;
    int n_hops = 0;
    for (size_t n; (n = eh_tap_ring_peek(&e->taps, &input, &strip)) > 0;) {
        n_hops += eh_features_process(&e->features, input, strip, e->n_tap_lanes, n);
        eh_tap_ring_consume(&e->taps, n);
    }
    eh_denormals_restore(control);
    return n_hops;
}

void eh_engine_process_in_step(eh_engine *e, const float *in, float *out, float *channels, size_t n_frames) {
    const size_t n_most = EH_TAP_RING_FRAMES / 2;
    while (n_frames > 0) {
        const size_t n = n_frames < n_most ? n_frames : n_most;
        eh_engine_process(e, in, out, channels, n);
        eh_engine_analyse(e);
        in += n * (size_t)e->config.n_capture_lanes;
        out += n * EH_N_OUTPUTS;
        if (channels) channels += n * 2 * (size_t)e->config.n_channels;
        n_frames -= n;
    }
}

const eh_channel_features *eh_engine_features(const eh_engine *e) { return eh_features_latest(&e->features); }

void eh_engine_set_mix_gain_bark(eh_engine *e, const float *gain_lin) {
    for (int ch = 0; ch < e->config.n_channels; ch++)
        eh_features_set_mix_gain(&e->features, ch, gain_lin + (size_t)ch * EH_N_BARK);
}

// -------------------------------------------------------------------------------------------------------- meters

static float larger(float a, float b) { return a > b ? a : b; }

static float behind_fader_dbfs(float level_dbfs, float fader_lin) {
    if (level_dbfs <= EH_SILENCE_DBFS || fader_lin <= 0.0f) return EH_SILENCE_DBFS;
    return larger(level_dbfs + (float)eh_lin_to_db(fader_lin), EH_SILENCE_DBFS);
}

static void read_channel(eh_engine *e, int ch, eh_channel_meters *m) {
    *m = (eh_channel_meters){.input_peak_dbfs = EH_SILENCE_DBFS,
                             .input_rms_dbfs = EH_SILENCE_DBFS,
                             .output_peak_dbfs = EH_SILENCE_DBFS,
                             .output_rms_dbfs = EH_SILENCE_DBFS};
    const int first = e->first_lane[ch];
    for (int lane = first; lane <= first + (e->config.is_stereo[ch] ? 1 : 0); lane++) {
        float peak_dbfs, rms_dbfs;
        eh_meters_read(&e->input_meters, lane, &peak_dbfs, &rms_dbfs);
        m->input_peak_dbfs = larger(m->input_peak_dbfs, peak_dbfs);
        m->input_rms_dbfs = larger(m->input_rms_dbfs, rms_dbfs);
        eh_meters_read(&e->output_meters, lane, &peak_dbfs, &rms_dbfs);
        m->output_peak_dbfs = larger(m->output_peak_dbfs, behind_fader_dbfs(peak_dbfs, e->fader_lin[ch]));
        m->output_rms_dbfs = larger(m->output_rms_dbfs, behind_fader_dbfs(rms_dbfs, e->fader_lin[ch]));
        m->n_clipped += (float)e->n_clipped[lane];
        m->n_scrubbed += (float)e->n_bad[lane];
    }
    m->gate_gain_db = eh_gate_gain_db(&e->gate, first);
    m->compressor_gain_db = eh_compressor_gain_db(&e->compressor, first);
    m->duck_gain_db = eh_ducker_gain_db(&e->ducker, first);
    const float automix_lin = e->automix.gain_lin[ch];
    m->automix_gain_db =
        automix_lin > 0.0f ? larger((float)eh_lin_to_db(automix_lin), EH_SILENCE_DBFS) : EH_SILENCE_DBFS;
}

void eh_engine_read_meters(eh_engine *e, eh_channel_meters *channels, eh_bus_meters *buses) {
    for (int ch = 0; ch < e->config.n_channels; ch++) read_channel(e, ch, &channels[ch]);
    for (int bus = 0; bus < EH_N_OUTPUTS; bus++) {
        eh_meters_read(&e->bus_meters, bus, &buses[bus].peak_dbfs, &buses[bus].rms_dbfs);
        buses[bus].limiter_gain_db = eh_limiter_read_gain_db(&e->limiter, bus);
    }
}

eh_loudness_reading eh_engine_loudness(const eh_engine *e) { return eh_loudness_read(&e->loudness); }

eh_engine_stats eh_engine_read_stats(const eh_engine *e) {
    eh_engine_stats stats = e->stats;
    stats.n_taps_dropped = atomic_load_explicit(&e->taps.n_dropped, memory_order_relaxed);
    return stats;
}
