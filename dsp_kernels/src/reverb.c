// Reverb: predelay, low cut and four all-pass diffusers before a feedback delay network of eight lines.
//
//   line      s[i] = direct[i] x[i - length] + pole[i] s[i]: a one-pole low-pass whose gain at rest, over sqrt(8), is
//             10^(-3 length / (decay_s rate)): -60 dB after decay_s
//   mix       v = H s, H the 8 x 8 Hadamard matrix: with the sqrt(8) above it keeps the power
//   feedback  v[i] +/- input goes into line i
//   out       left and right are two rows of v, hence uncorrelated, and an early part out of the diffusers
//
// Jot, Chaigne, "Digital delay networks for designing artificial reverberators", AES 90th Convention, 1991.
#include "evenhand/reverb.h"

#include "bank.h"
#include "eh_ramps.h"
#include "ramp.h"
#include "simd.h"
#include "units.h"

enum { N_LINES = 8, N_DIFFUSERS = 4, CHUNK_FRAMES = 64, RAMP_STEP_FRAMES = 16, MAX_PREDELAY_MS = 120 };

// At 48 kHz; at other rates the next prime above the scaled length, so that no two share a period.
static const int LINE_FRAMES[N_LINES] = {1031, 1187, 1367, 1571, 1811, 2081, 2393, 2753};
static const int DIFFUSER_FRAMES[N_DIFFUSERS] = {113, 191, 313, 463};
#define DIFFUSION_LIN 0.5f
#define EARLY_LIN 0.4f
// Below this a value is silence: the tail ends instead of creeping through the denormals.
#define NOTHING_LIN 1e-15f

// What moves when a parameter moves: every 16 frames, along a straight line.
enum { DIRECT = 0, POLE = N_LINES, CUT_A1 = 2 * N_LINES, CUT_A2, CUT_A3, INPUT, N_COEFFS };
#define CUT_DAMPING 1.41421356f  // k of the Butterworth high-pass

typedef struct {
    float now[N_COEFFS + 4], target[N_COEFFS + 4], step[N_COEFFS + 4];
    float input_before;  // INPUT 16 frames ago: it goes sample by sample
    v4 line_state[2];
    float cut_state[2];
    float level_lin, level_target_lin, level_step_lin;
    int32_t ramp_left, level_left, fade_left;  // of 16 frames; of frames
    uint32_t phase;                            // frames since reset
    int32_t n_silent, n_total;                 // frames of nothing so far; those after which all memory is nothing
    int32_t predelay, predelay_before, predelay_target, predelay_size, predelay_pos;
    int32_t line_size[N_LINES], line_pos[N_LINES], diffuser_size[N_DIFFUSERS], diffuser_pos[N_DIFFUSERS];
    float *predelay_ring, *line[N_LINES], *diffuser[N_DIFFUSERS];
    eh_reverb_params params;
    int32_t is_off;
} reverb_state;

static int is_prime(int n) {
    for (int i = 2; i * i <= n; i++)
        if (n % i == 0) return 0;
    return 1;
}

static int scaled_prime(int frames, float sample_rate_hz) {
    int n = (int)((double)frames * (double)sample_rate_hz / 48000.0 + 0.5);
    while (!is_prime(n)) n++;
    return n;
}

static int predelay_frames(float predelay_ms, float sample_rate_hz) {
    return (int)(predelay_ms * 0.001f * sample_rate_hz + 0.5f);
}

static size_t lay_out(reverb_state *s, float sample_rate_hz) {
    s->predelay_size = predelay_frames(MAX_PREDELAY_MS, sample_rate_hz) + CHUNK_FRAMES;
    size_t n_floats = (size_t)s->predelay_size;
    int longest = 0;
    for (int i = 0; i < N_DIFFUSERS; i++) {
        s->diffuser_size[i] = scaled_prime(DIFFUSER_FRAMES[i], sample_rate_hz);
        n_floats += (size_t)s->diffuser_size[i];
    }
    s->n_total = (int32_t)n_floats;
    for (int i = 0; i < N_LINES; i++) {
        s->line_size[i] = scaled_prime(LINE_FRAMES[i], sample_rate_hz);
        while (i > 0 && s->line_size[i] <= s->line_size[i - 1])
            s->line_size[i] = scaled_prime(s->line_size[i] + 1, 48000.0f);
        n_floats += (size_t)s->line_size[i];
        longest = s->line_size[i];
    }
    s->n_total += longest;
    return n_floats;
}

size_t eh_reverb_size_bytes(float sample_rate_hz) {
    reverb_state layout;
    return sizeof(reverb_state) + lay_out(&layout, sample_rate_hz) * sizeof(float);
}

static reverb_state *state_of(const eh_reverb *r) { return (reverb_state *)(void *)r->memory; }

static void forget_sound(reverb_state *s) {
    const float *end = s->line[N_LINES - 1] + s->line_size[N_LINES - 1];
    memset(s->predelay_ring, 0, (size_t)(end - s->predelay_ring) * sizeof(float));
    memset(s->line_state, 0, sizeof s->line_state);
    memset(s->cut_state, 0, sizeof s->cut_state);
    memset(s->line_pos, 0, sizeof s->line_pos);
    memset(s->diffuser_pos, 0, sizeof s->diffuser_pos);
    s->predelay_pos = 0;
    s->n_silent = s->n_total;
}

// Everything at its target, nothing on its way.
static void settle(reverb_state *s) {
    memcpy(s->now, s->target, sizeof s->now);
    s->input_before = s->now[INPUT];
    s->predelay = s->predelay_before = s->predelay_target;
    s->level_lin = s->level_target_lin;
    s->ramp_left = s->level_left = s->fade_left = 0;
    s->is_off = s->level_lin == 0.0f;
}

eh_status eh_reverb_init(eh_reverb *r, float sample_rate_hz, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, EH_LANES_PER_VECTOR);
    if (status != EH_OK) return status;
    *r = (eh_reverb){.sample_rate_hz = sample_rate_hz, .memory = memory};
    reverb_state *s = memory;
    memset(s, 0, sizeof *s);
    lay_out(s, sample_rate_hz);
    float *next = (float *)(void *)(s + 1);
    s->predelay_ring = next;
    next += s->predelay_size;
    for (int i = 0; i < N_DIFFUSERS; i++) {
        s->diffuser[i] = next;
        next += s->diffuser_size[i];
    }
    for (int i = 0; i < N_LINES; i++) {
        s->line[i] = next;
        next += s->line_size[i];
    }
    s->is_off = 1;
    const eh_reverb_params start = {
        .decay_s = 1.4f, .predelay_ms = 20.0f, .damping_hz = 5000.0f, .low_cut_hz = 150.0f, .level_db = -90.0f};
    eh_reverb_set(r, &start);
    eh_reverb_reset(r);
    return EH_OK;
}

static double clamped(double x, double low, double high) { return x > low ? (x < high ? x : high) : low; }

// At damping_hz the tail lasts half as long: there the low-pass loses as many dB per pass as the line does at rest.
//   |H|^2 = (1-p)^2 / (1 - 2 p cos w + p^2) = g^2 =: G   ->   p = (b - sqrt(b^2 - a^2)) / a, a = 1 - G, b = 1 - G cos w
static void find_targets(reverb_state *s, float sample_rate_hz, const eh_reverb_params *p) {
    const double decay_s = clamped(p->decay_s, 0.1, 30.0);
    double sine, cosine, mean_power = 0.0;
    eh_sincos(2.0 * EH_PI * clamped(p->damping_hz / (double)sample_rate_hz, 0.001, 0.45), &sine, &cosine);
    for (int i = 0; i < N_LINES; i++) {
        const double gain = eh_db_to_lin(-60.0 * s->line_size[i] / (decay_s * (double)sample_rate_hz));
        const double a = 1.0 - gain * gain, b = 1.0 - gain * gain * cosine;
        const double pole = (b - __builtin_sqrt(b * b - a * a)) / a;
        s->target[DIRECT + i] = (float)(gain * (1.0 - pole) * 0.35355339059327379);
        s->target[POLE + i] = (float)pole;
        mean_power += gain * gain / N_LINES;
    }
    // Steady noise comes back as loud as it was sent, whatever the decay: in the lines it has LATE^2 / G, since each
    // pass keeps the share G of the power and adds INPUT^2; behind them LATE^2, beside EARLY^2.
    const double late_power = 1.0 - (double)(EARLY_LIN * EARLY_LIN);
    s->target[INPUT] = (float)__builtin_sqrt(late_power * (1.0 - mean_power) / mean_power);
    const double g = eh_tan(EH_PI * clamped(p->low_cut_hz / (double)sample_rate_hz, 0.0001, 0.45));
    const double a1 = 1.0 / (1.0 + g * (g + (double)CUT_DAMPING));
    s->target[CUT_A1] = (float)a1;
    s->target[CUT_A2] = (float)(a1 * g);
    s->target[CUT_A3] = (float)(a1 * g * g);
    s->predelay_target = predelay_frames((float)clamped(p->predelay_ms, 0.0, MAX_PREDELAY_MS), sample_rate_hz);
    s->level_target_lin = (float)eh_fader_to_lin(p->level_db);
}

void eh_reverb_set(eh_reverb *r, const eh_reverb_params *p) {
    reverb_state *s = state_of(r);
    if (memcmp(&s->params, p, sizeof *p) == 0) return;
    s->params = *p;
    const float rate = r->sample_rate_hz, level_before_lin = s->level_target_lin;
    find_targets(s, rate, p);
    if (s->is_off) {  // nothing sounds: all but the level jumps
        const float level_target_lin = s->level_target_lin;
        s->level_target_lin = 0.0f;
        settle(s);
        s->level_target_lin = level_target_lin;
    } else {
        s->ramp_left = eh_ramp_frames(EH_REVERB_DECAY_S_RAMP_MS, rate) / RAMP_STEP_FRAMES + 1;
        for (int i = 0; i < N_COEFFS; i++) s->step[i] = (s->target[i] - s->now[i]) / (float)s->ramp_left;
    }
    if (s->is_off || s->level_target_lin != level_before_lin) {
        s->level_left = eh_ramp_frames(EH_REVERB_LEVEL_DB_RAMP_MS, rate);
        s->level_step_lin = (s->level_target_lin - s->level_lin) / (float)s->level_left;
    }
    if (s->is_off && s->level_target_lin == 0.0f) s->level_left = 0;
    s->is_off = s->is_off && s->level_target_lin == 0.0f;
}

void eh_reverb_reset(eh_reverb *r) {
    reverb_state *s = state_of(r);
    settle(s);
    forget_sound(s);
    s->phase = 0;
}

// The ring is longer than the longest predelay by a chunk: what is read has not been written over.
static void copy_from_ring(const float *ring, int size, int at, float *out, int n_frames) {
    const int room = size - at, m = n_frames < room ? n_frames : room;
    memcpy(out, ring + at, (size_t)m * sizeof(float));
    memcpy(out + m, ring, (size_t)(n_frames - m) * sizeof(float));
}

// Two taps while the predelay changes, one fading into the other.
static void delay_input(reverb_state *s, const float *in, float *out, int n_frames, int32_t fade_frames) {
    float *ring = s->predelay_ring;
    const int size = s->predelay_size, pos = s->predelay_pos;
    const int room = size - pos, m = n_frames < room ? n_frames : room;
    memcpy(ring + pos, in, (size_t)m * sizeof(float));
    memcpy(ring, in + m, (size_t)(n_frames - m) * sizeof(float));
    s->predelay_pos = pos + n_frames < size ? pos + n_frames : pos + n_frames - size;
    if (s->fade_left == 0 && s->predelay != s->predelay_target) {
        s->predelay_before = s->predelay;
        s->predelay = s->predelay_target;
        s->fade_left = fade_frames;
    }
    const int at = pos - s->predelay, before = pos - s->predelay_before;
    copy_from_ring(ring, size, at < 0 ? at + size : at, out, n_frames);
    if (s->fade_left == 0) return;
    float fading[CHUNK_FRAMES];
    copy_from_ring(ring, size, before < 0 ? before + size : before, fading, n_frames);
    for (int n = 0; n < n_frames; n++) out[n] += (fading[n] - out[n]) * ((float)--s->fade_left / (float)fade_frames);
}

static inline float something(float x) { return x > NOTHING_LIN || x < -NOTHING_LIN ? x : 0.0f; }

static void cut_lows(reverb_state *s, float *x, int n_frames) {
    const float a1 = s->now[CUT_A1], a2 = s->now[CUT_A2], a3 = s->now[CUT_A3], k = CUT_DAMPING;
    float s1 = s->cut_state[0], s2 = s->cut_state[1];
    for (int n = 0; n < n_frames; n++) {
        const float v3 = x[n] - s2, v1 = a1 * s1 + a2 * v3, v2 = s2 + (a2 * s1 + a3 * v3);
        s1 = something(2.0f * v1 - s1);
        s2 = something(2.0f * v2 - s2);
        x[n] = x[n] - k * v1 - v2;
    }
    s->cut_state[0] = s1;
    s->cut_state[1] = s2;
}

// Schroeder all-pass: w = x + g w[-d], y = w[-d] - g w. Sections are longer than a chunk, so each piece is independent.
static void diffuse(reverb_state *s, int i, float *x, int n_frames) {
    int pos = s->diffuser_pos[i];
    for (int n = 0; n < n_frames;) {
        const int room = s->diffuser_size[i] - pos, m = n_frames - n < room ? n_frames - n : room;
        float *ring = s->diffuser[i] + pos, *piece = x + n;
        for (int k = 0; k < m; k++) {
            const float old = ring[k], w = piece[k] + DIFFUSION_LIN * old;
            ring[k] = w;
            piece[k] = old - DIFFUSION_LIN * w;
        }
        n += m;
        pos = m == room ? 0 : pos + m;
    }
    s->diffuser_pos[i] = pos;
}

static inline v4 something4(v4 x) { return (v4)((v4i)x & (v4_abs(x) > v4_set1(NOTHING_LIN))); }
static inline v4 butterfly(v4 x, v4 swapped, v4 sign) { return v4_fma(x, sign, swapped); }

typedef struct {
    v4 direct[2], pole[2];  // of the lines 0 to 3 and 4 to 7
    v4 state[2];
    v4i any;  // whether anything was written
} network_state;

// x: what comes out of lines 0 to 3 and 4 to 7; becomes what goes in. Returns the mix that is heard.
static inline v4 circulate(network_state *s, v4 *x_a, v4 *x_b, v4 in) {
    const v4 halves = {1.0f, 1.0f, -1.0f, -1.0f}, pairs = {1.0f, -1.0f, 1.0f, -1.0f};
    const v4 in_a = {1.0f, 1.0f, 1.0f, -1.0f}, in_b = {1.0f, 1.0f, -1.0f, 1.0f};
    s->state[0] = something4(v4_fma(s->pole[0], s->state[0], s->direct[0] * *x_a));
    s->state[1] = something4(v4_fma(s->pole[1], s->state[1], s->direct[1] * *x_b));
    v4 u = s->state[0] + s->state[1], v = s->state[0] - s->state[1];
    u = butterfly(u, __builtin_shufflevector(u, u, 2, 3, 0, 1), halves);
    v = butterfly(v, __builtin_shufflevector(v, v, 2, 3, 0, 1), halves);
    u = butterfly(u, v4_swap_pairs(u), pairs);
    v = butterfly(v, v4_swap_pairs(v), pairs);
    *x_a = something4(v4_fma(in, in_a, u));
    *x_b = something4(v4_fma(in, in_b, v));
    s->any |= (v4i)*x_a | (v4i)*x_b;
    return u;
}

// left[n], right[n] hold the early part; in[n] is what the lines get. Returns whether anything was written.
static int network(reverb_state *s, const float *in, float *left, float *right, int n_frames) {
    network_state net = {.direct = {v4_load(s->now + DIRECT), v4_load(s->now + DIRECT + 4)},
                         .pole = {v4_load(s->now + POLE), v4_load(s->now + POLE + 4)},
                         .state = {s->line_state[0], s->line_state[1]}};
    while (n_frames > 0) {
        int n = 0, m = n_frames;
        float *p[N_LINES];
        for (int i = 0; i < N_LINES; i++) {
            const int room = s->line_size[i] - s->line_pos[i];
            p[i] = s->line[i] + s->line_pos[i];
            m = m < room ? m : room;
        }
        for (; n + 4 <= m; n += 4) {  // no line is as short as four frames
            v4 x[N_LINES], heard[4];
            for (int i = 0; i < N_LINES; i++) x[i] = v4_load(p[i] + n);
            v4_transpose(x);
            v4_transpose(x + 4);
            for (int k = 0; k < 4; k++) heard[k] = circulate(&net, &x[k], &x[4 + k], v4_set1(in[n + k]));
            v4_transpose(x);
            v4_transpose(x + 4);
            for (int i = 0; i < N_LINES; i++) v4_store(p[i] + n, x[i]);
            v4_transpose(heard);
            v4_store(left + n, v4_load(left + n) + heard[1]);
            v4_store(right + n, v4_load(right + n) + heard[2]);
        }
        for (; n < m; n++) {
            v4 x_a = {p[0][n], p[1][n], p[2][n], p[3][n]}, x_b = {p[4][n], p[5][n], p[6][n], p[7][n]};
            const v4 heard = circulate(&net, &x_a, &x_b, v4_set1(in[n]));
            left[n] += heard[1];
            right[n] += heard[2];
            for (int i = 0; i < 4; i++) {
                p[i][n] = x_a[i];
                p[4 + i][n] = x_b[i];
            }
        }
        for (int i = 0; i < N_LINES; i++)
            s->line_pos[i] = s->line_pos[i] + m == s->line_size[i] ? 0 : s->line_pos[i] + m;
        in += m, left += m, right += m, n_frames -= m;
    }
    s->line_state[0] = net.state[0];
    s->line_state[1] = net.state[1];
    return v4_any(net.any);
}

static void step_coefficients(reverb_state *s) {
    if (s->phase % RAMP_STEP_FRAMES != 0) return;
    s->input_before = s->now[INPUT];
    if (s->ramp_left == 0) return;
    s->ramp_left--;
    for (int i = 0; i < N_COEFFS; i++) s->now[i] = s->target[i] - s->step[i] * (float)s->ramp_left;
}

static int any_sound(const float *x, int n_frames) {
    int any = 0;
    for (int n = 0; n < n_frames; n++) any |= x[n] != 0.0f;
    return any;
}

static void sound(reverb_state *s, const float *x, float *out, int n_frames, int is_silent, int32_t fade_frames) {
    float line_in[CHUNK_FRAMES], left[CHUNK_FRAMES], right[CHUNK_FRAMES];
    delay_input(s, x, line_in, n_frames, fade_frames);
    cut_lows(s, line_in, n_frames);
    for (int i = 0; i < N_DIFFUSERS; i++) {
        diffuse(s, i, line_in, n_frames);
        // Turned over, the right does not share what passes straight through the last two sections.
        if (i == 1)
            for (int n = 0; n < n_frames; n++) left[n] = EARLY_LIN * line_in[n];
        else if (i == 3)
            for (int n = 0; n < n_frames; n++) right[n] = -EARLY_LIN * line_in[n];
    }
    const float before_lin = s->input_before, step_lin = (s->now[INPUT] - before_lin) / RAMP_STEP_FRAMES;
    const uint32_t first = s->phase % RAMP_STEP_FRAMES + 1;
    if (step_lin == 0.0f)
        for (int n = 0; n < n_frames; n++) line_in[n] *= before_lin;
    else
        for (int n = 0; n < n_frames; n++) line_in[n] *= before_lin + step_lin * (float)(first + (uint32_t)n);
    const int is_sounding = network(s, line_in, left, right, n_frames) || !is_silent || any_sound(line_in, n_frames);
    s->n_silent = is_sounding ? 0 : s->n_silent < s->n_total ? s->n_silent + n_frames : s->n_silent;
    if (s->level_left == 0) {
        const float level_lin = s->level_lin;
        for (int n = 0; n < n_frames; n++) {
            out[2 * n] = left[n] * level_lin;
            out[2 * n + 1] = right[n] * level_lin;
        }
        return;
    }
    for (int n = 0; n < n_frames; n++) {
        s->level_lin = s->level_target_lin - s->level_step_lin * (float)--s->level_left;
        out[2 * n] = left[n] * s->level_lin;
        out[2 * n + 1] = right[n] * s->level_lin;
    }
}

// Copies what is a number; returns whether all of it is zero.
static int take_in(const float *in, float *x, int n_frames) {
    int n = 0;
    v4i any = {0, 0, 0, 0};
    for (; n + 4 <= n_frames; n += 4) {
        const v4 raw = v4_load(in + n), number = (v4)((v4i)raw & (v4_abs(raw) < v4_set1(1e30f)));
        v4_store(x + n, number);
        any |= number != 0.0f;
    }
    int is_silent = !v4_any(any);
    for (; n < n_frames; n++) {
        x[n] = in[n] < 1e30f && in[n] > -1e30f ? in[n] : 0.0f;
        is_silent &= x[n] == 0.0f;
    }
    return is_silent;
}

void eh_reverb_process(eh_reverb *r, const float *in, float *out, size_t n_frames) {
    reverb_state *s = state_of(r);
    const int32_t fade_frames = eh_ramp_frames(EH_REVERB_PREDELAY_MS_RAMP_MS, r->sample_rate_hz);
    while (n_frames > 0) {
        if (s->is_off) {
            memset(out, 0, 2 * n_frames * sizeof(float));
            s->phase += (uint32_t)n_frames;
            return;
        }
        step_coefficients(s);
        size_t n = n_frames < CHUNK_FRAMES ? n_frames : CHUNK_FRAMES;
        const size_t to_step = RAMP_STEP_FRAMES - s->phase % RAMP_STEP_FRAMES;
        if ((s->ramp_left > 0 || s->input_before != s->now[INPUT]) && n > to_step) n = to_step;
        if (s->level_left > 0 && n > (size_t)s->level_left) n = (size_t)s->level_left;
        if (s->fade_left > 0 && n > (size_t)s->fade_left) n = (size_t)s->fade_left;
        float x[CHUNK_FRAMES];
        const int is_silent = take_in(in, x, (int)n);  // no NaN circulates
        const int is_moving = s->level_left | s->ramp_left | s->fade_left | (s->predelay != s->predelay_target);
        if (is_silent && !is_moving && s->n_silent >= s->n_total)
            memset(out, 0, 2 * n * sizeof(float));
        else
            sound(s, x, out, (int)n, is_silent, fade_frames);
        if (s->level_left == 0 && s->level_target_lin == 0.0f) {
            settle(s);
            forget_sound(s);
        }
        s->phase += (uint32_t)n;
        in += n;
        out += 2 * n;
        n_frames -= n;
    }
}
