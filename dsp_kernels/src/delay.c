// Tempo-synchronised delay: one ring of stereo frames, a low-pass in the loop, echoes on both sides or in turns.
//
//   y  what went into the ring one note ago; it is also what is heard
//   f  y through a one-pole low-pass (trapezoidal integrator): the first echo is bright, each further one darker
//   into left   x + feedback ((1-p) f_left + p f_right),  p from 0, both sides alike, to 1, ping-pong
//   into right  (1-p) x + feedback ((1-p) f_right + p f_left)
#include "evenhand/delay.h"

#include "bank.h"
#include "eh_ramps.h"
#include "ramp.h"
#include "simd.h"
#include "units.h"

enum { LONGEST_MS = 1500, CHUNK_FRAMES = 64 };  // a quarter at 40 BPM
#define MAX_FEEDBACK_LIN 0.95
// Below this a value is silence: the echoes end instead of creeping through the denormals.
#define NOTHING_LIN 1e-15f

typedef struct {
    float feedback_lin, ping_pong, cut;  // cut = g / (1 + g), g = tan(pi f / rate)
} delay_coeffs;

typedef struct {
    v4 filter;
    delay_coeffs now, target, step;
    float level_lin, level_target_lin, level_step_lin;
    int32_t ramp_left, level_left, fade_left;
    int32_t size, pos, n_valid;  // of the ring: frames, the next to write, and how many hold sound
    int32_t n_silent;            // frames of nothing so far
    int32_t time, time_before, time_target;
    int32_t is_off;
    eh_delay_params params;
    float *ring;
} delay_state;

static delay_state *state_of(const eh_delay *d) { return (delay_state *)(void *)d->memory; }

static int32_t ring_frames(float sample_rate_hz) { return (int32_t)(LONGEST_MS * 0.001f * sample_rate_hz + 1.5f); }

size_t eh_delay_size_bytes(float sample_rate_hz) {
    return sizeof(delay_state) + 2 * sizeof(float) * (size_t)ring_frames(sample_rate_hz);
}

// What the ring holds is not cleared but no longer believed: this costs the same whatever its size.
static void forget_sound(delay_state *s) {
    s->filter = v4_set1(0.0f);
    s->n_valid = 0;
    s->n_silent = s->size;
}

// Everything at its target, nothing on its way.
static void settle(delay_state *s) {
    s->now = s->target;
    s->time = s->time_before = s->time_target;
    s->level_lin = s->level_target_lin;
    s->ramp_left = s->level_left = s->fade_left = 0;
    s->is_off = s->level_lin == 0.0f;
}

eh_status eh_delay_init(eh_delay *d, float sample_rate_hz, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, EH_LANES_PER_VECTOR);
    if (status != EH_OK) return status;
    *d = (eh_delay){.sample_rate_hz = sample_rate_hz, .memory = memory};
    delay_state *s = memory;
    memset(s, 0, sizeof *s);
    s->ring = (float *)(void *)(s + 1);
    s->size = ring_frames(sample_rate_hz);
    s->is_off = 1;
    const eh_delay_params start = {
        .tempo_bpm = 120.0f, .division = EH_DELAY_DIVISION_EIGHTH, .high_cut_hz = 5000.0f, .level_db = -90.0f};
    eh_delay_set(d, &start);
    eh_delay_reset(d);
    return EH_OK;
}

static double clamped(double x, double low, double high) { return x > low ? (x < high ? x : high) : low; }

static void find_targets(delay_state *s, float sample_rate_hz, const eh_delay_params *p) {
    static const double quarters[] = {1.0, 0.75, 0.5, 1.0 / 3.0, 0.25};  // in the order of delay.division
    const double rate_hz = sample_rate_hz;
    const int division = (int)clamped(p->division, 0.0, EH_DELAY_DIVISION_SIXTEENTH);
    const double frames = 60.0 / clamped(p->tempo_bpm, 40.0, 240.0) * quarters[division] * rate_hz;
    s->time_target = (int32_t)(frames + 0.5);
    const double g = eh_tan(EH_PI * clamped(p->high_cut_hz / rate_hz, 0.001, 0.45));
    s->target = (delay_coeffs){
        .feedback_lin = (float)clamped(p->feedback_percent * 0.01, 0.0, MAX_FEEDBACK_LIN),
        .ping_pong = p->is_ping_pong >= 0.5f ? 1.0f : 0.0f,
        .cut = (float)(g / (1.0 + g)),
    };
    s->level_target_lin = (float)eh_fader_to_lin(p->level_db);
}

void eh_delay_set(eh_delay *d, const eh_delay_params *p) {
    delay_state *s = state_of(d);
    if (memcmp(&s->params, p, sizeof *p) == 0) return;
    s->params = *p;
    const float rate_hz = d->sample_rate_hz, level_before_lin = s->level_target_lin;
    find_targets(s, rate_hz, p);
    if (s->is_off) {  // nothing sounds: all but the level jumps
        const float level_target_lin = s->level_target_lin;
        s->level_target_lin = 0.0f;
        settle(s);
        s->level_target_lin = level_target_lin;
    } else {
        s->ramp_left = eh_ramp_frames(EH_DELAY_FEEDBACK_PERCENT_RAMP_MS, rate_hz);
        const float n = (float)s->ramp_left;
        s->step = (delay_coeffs){(s->target.feedback_lin - s->now.feedback_lin) / n,
                                 (s->target.ping_pong - s->now.ping_pong) / n, (s->target.cut - s->now.cut) / n};
    }
    if (s->level_target_lin != level_before_lin) {
        s->level_left = eh_ramp_frames(EH_DELAY_LEVEL_DB_RAMP_MS, rate_hz);
        s->level_step_lin = (s->level_target_lin - s->level_lin) / (float)s->level_left;
        s->is_off = 0;
    }
}

void eh_delay_reset(eh_delay *d) {
    delay_state *s = state_of(d);
    settle(s);
    forget_sound(s);
}

static inline v4 something(v4 x) { return (v4)((v4i)x & (v4_abs(x) > v4_set1(NOTHING_LIN))); }

static inline v4 tap(const delay_state *s, int32_t time, int32_t pos, int32_t n_valid) {
    if (time > n_valid) return v4_set1(0.0f);
    const int32_t at = pos - time < 0 ? pos - time + s->size : pos - time;
    return (v4){s->ring[2 * at], s->ring[2 * at + 1], 0.0f, 0.0f};
}

static void sound(delay_state *s, const float *x, float *out, int n_frames, int32_t fade_frames) {
    v4 filter = s->filter;
    v4i any = {0, 0, 0, 0};
    int32_t pos = s->pos, n_valid = s->n_valid;
    delay_coeffs c = s->now;
    for (int n = 0; n < n_frames; n++) {
        if (s->ramp_left > 0) {
            const float left = (float)--s->ramp_left;
            c = (delay_coeffs){s->target.feedback_lin - s->step.feedback_lin * left,
                               s->target.ping_pong - s->step.ping_pong * left, s->target.cut - s->step.cut * left};
        }
        if (s->level_left > 0) s->level_lin = s->level_target_lin - s->level_step_lin * (float)--s->level_left;
        v4 y = tap(s, s->time, pos, n_valid);
        if (s->fade_left > 0) {
            const v4 before = tap(s, s->time_before, pos, n_valid);
            y = v4_fma(before - y, v4_set1((float)--s->fade_left / (float)fade_frames), y);
        } else if (s->time != s->time_target) {
            s->time_before = s->time;
            s->time = s->time_target;
            s->fade_left = fade_frames;
        }
        const v4 v = (y - filter) * v4_set1(c.cut), f = v + filter;
        filter = something(f + v);
        const v4 turned = v4_fma(v4_swap_pairs(f) - f, v4_set1(c.ping_pong), f);
        const v4 dry = {x[n], x[n] * (1.0f - c.ping_pong), 0.0f, 0.0f};
        const v4 w = something(v4_fma(turned, v4_set1(c.feedback_lin), dry));
        any |= (v4i)w | (v4i)filter;
        s->ring[2 * pos] = w[0];
        s->ring[2 * pos + 1] = w[1];
        pos = pos + 1 == s->size ? 0 : pos + 1;
        if (n_valid < s->size) n_valid++;
        out[2 * n] = y[0] * s->level_lin;
        out[2 * n + 1] = y[1] * s->level_lin;
    }
    s->filter = filter;
    s->now = c;
    s->pos = pos;
    s->n_valid = n_valid;
    s->n_silent = v4_any(any) ? 0 : s->n_silent < s->size ? s->n_silent + n_frames : s->n_silent;
}

void eh_delay_process(eh_delay *d, const float *in, float *out, size_t n_frames) {
    delay_state *s = state_of(d);
    const int32_t fade_frames = eh_ramp_frames(EH_DELAY_TEMPO_BPM_RAMP_MS, d->sample_rate_hz);
    while (n_frames > 0) {
        if (s->is_off) {
            memset(out, 0, 2 * n_frames * sizeof(float));
            return;
        }
        size_t n = n_frames < CHUNK_FRAMES ? n_frames : CHUNK_FRAMES;
        if (s->level_left > 0 && n > (size_t)s->level_left) n = (size_t)s->level_left;
        float x[CHUNK_FRAMES];
        int is_silent = 1;
        for (size_t i = 0; i < n; i++) {
            x[i] = in[i] < 1e30f && in[i] > -1e30f ? in[i] : 0.0f;  // no NaN circulates
            is_silent &= x[i] == 0.0f;
        }
        const int is_moving = s->level_left || s->ramp_left || s->fade_left || s->time != s->time_target;
        if (is_silent && !is_moving && s->n_silent >= s->size)
            memset(out, 0, 2 * n * sizeof(float));
        else
            sound(s, x, out, (int)n, fade_frames);
        if (s->level_left == 0 && s->level_target_lin == 0.0f) {
            settle(s);
            forget_sound(s);
        }
        in += n;
        out += 2 * n;
        n_frames -= n;
    }
}
