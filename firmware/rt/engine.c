// The fixed graph: strips, gain sharing, buses, effects, outputs; and the analysis beside it.
#include <string.h>

#include "engine_state.h"
#include "engine_threads.h"
#include "simd.h"

enum { VECTOR = EH_LANES_PER_VECTOR };

// A float beyond this (+18 dBFS) is no sound but a fault.
static const float INPUT_LIMIT_LIN = 8.0f;

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

static v4 stereo_twice(const float *pair) {
    v2 once;
    memcpy(&once, pair, sizeof once);
    return __builtin_shufflevector(once, once, 0, 1, 0, 1);
}

// The outputs out of the buses; both effects join main and record.
static void collect_outputs(const eh_engine *e, float *out, size_t n_frames) {
    const float *buses = e->buses, *reverb = e->wet[FX_REVERB], *delay = e->wet[FX_DELAY];
    for (size_t n = 0; n < n_frames;
         n++, buses += N_BUSES, out += EH_N_OUTPUTS, reverb += EH_N_WET, delay += EH_N_WET) {
        v4_store(out, v4_load(buses) + stereo_twice(reverb) + stereo_twice(delay));
        v4_store(out + VECTOR, v4_load(buses + VECTOR));
        v4_store(out + 2 * VECTOR, v4_load(buses + 2 * VECTOR));
    }
}

_Static_assert(BUS_MONITOR_L == 2 * VECTOR + 2 && BUS_MONITOR_R == 2 * VECTOR + 3, "the monitor is half a vector");

// Without solo the engineer hears the main mix, as it goes to its limiter.
static void feed_monitor(eh_engine *e, float *out, size_t n_frames) {
    float *main_mix = e->monitor;
    for (size_t n = 0; n < n_frames; n++) memcpy(main_mix + n * VECTOR, out + n * EH_N_OUTPUTS, sizeof(v4));
    eh_gain_process(&e->monitor_feed, main_mix, main_mix, n_frames);
    for (size_t n = 0; n < n_frames; n++, out += EH_N_OUTPUTS, main_mix += VECTOR) {
        const v4 last = v4_load(out + 2 * VECTOR), sum = last + stereo_twice(main_mix);
        v4_store(out + 2 * VECTOR, __builtin_shufflevector(last, sum, 0, 1, 6, 7));
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
    const eh_params *newest = eh_mailbox_read(e->mailbox);
    if (newest) eh_engine_take_over(e, newest);
    if (newest && e->is_fresh) eh_engine_jump(e);
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

size_t eh_engine_tap_position(const eh_engine *e) {
    return atomic_load_explicit(&e->taps.n_written, memory_order_acquire);
}

int eh_engine_analyse_to(eh_engine *e, size_t tap_position) {
    const unsigned control = eh_denormals_flush();
    const float *input, *strip;
    int n_hops = 0;
    size_t at = atomic_load_explicit(&e->taps.n_read, memory_order_relaxed);
    for (size_t n; at < tap_position && (n = eh_tap_ring_peek(&e->taps, &input, &strip)) > 0; at += n) {
        if (n > tap_position - at) n = tap_position - at;
        n_hops += eh_features_process(&e->features, input, strip, e->n_tap_lanes, n);
        eh_chroma_process(&e->chroma, input, e->n_tap_lanes, n);
        eh_tap_ring_consume(&e->taps, n);
    }
    eh_denormals_restore(control);
    return n_hops;
}

int eh_engine_analyse(eh_engine *e) { return eh_engine_analyse_to(e, eh_engine_tap_position(e)); }

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

void eh_engine_read_mix_features(const eh_engine *e, eh_mix_features *mix) { eh_chroma_read(&e->chroma, mix->chroma); }

void eh_engine_set_mix_gain_bark(eh_engine *e, const float *gain_lin) {
    for (int ch = 0; ch < e->config.n_channels; ch++)
        eh_features_set_mix_gain(&e->features, ch, gain_lin + (size_t)ch * EH_N_BARK);
}
