// Cascades of state-variable sections (trapezoidal integrators, "TPT"), four lanes at a time.
//
// Zavalishin, The Art of VA Filter Design, 2012; Simper, Solving the continuous SVF equations, 2013. With g = tan(pi
// f/fs), k = 1/Q, the input v0 and the two integrator states s1, s2:
//     hp = (v0 - (g + k) s1 - s2) / (1 + g (g + k)),  v1 = s1 + g hp,  v2 = s2 + g v1
//     s1' = s1 + 2 g hp,  s2' = s2 + 2 g v1,  out = n0 v0 + n1 v1 + n2 hp
// Kept here instead of s2 is u2 = s2 + g s1, which turns the loop into
//     h = v0 - u2 - k s1,  s1' = s1 + c2 h,  u2' = u2 + 2 g s1',  with c2 = 2 g / (1 + g (g + k)),
//     hp = h c2 / (2 g),  v1 = (s1 + s1') / 2
// No coefficient is one minus something small: k, c2 and 2 g carry their full 24 bits however low the frequency, and
// each state grows by a small fused increment. Errors against double are -104 dB at the very bottom of a 100 Hz, Q 30,
// -18 dB notch and -120 to -148 dB for most else, where the usual form in float32 stops at -84. It also is the
// shortest: six operations for a bell, five for a high-pass.
//
// Ramps run over g, k and the n, and u2 moves with g so that s2 keeps its value. Then s1^2 + s2^2 changes each frame by
// -4 g k v1^2 plus what the input brings: no path between two designs, however fast, can make the filter unstable.
#include "evenhand/eq.h"

#include "bank.h"
#include "eq_design.h"
#include "ramp.h"
#include "simd.h"

enum { SETTLE_FRAMES = 1024 };  // how often states are looked at for what has died away
#define DIED_AWAY_LIN 1e-20f    // -400 dBFS; far above denormals

// Which loop a vector of lanes needs: the cheapest that does all four.
enum { LOOP_FLAT, LOOP_BELL, LOOP_HIGH_PASS, LOOP_GENERAL };
enum { G, K, N0, N1, N2, N_RAMPED };

typedef struct {
    v4 k, c2, g2, n0, nh, n2;  // nh = n1 / 2;  n2 is multiplied by c2 / (2 g) already
} coefficients;

// One section on four lanes. What the steady loops touch comes first: two cache lines.
typedef struct {
    coefficients now;
    v4 s1, u2;
    coefficients then;  // when the ramp is over
    v4 at[N_RAMPED], step[N_RAMPED], target[N_RAMPED];
    eh_section_design design[4];
    int32_t is_flat[4], is_idle[4];  // is on its way to flat, or there; has been there since the last ramp
    int32_t ramp_left, loop;
} section_bank;

typedef struct {
    uint32_t active;  // a bit for each section that is not flat
    uint32_t unused[15];
} vector_head;

_Static_assert(sizeof(section_bank) % 16 == 0, "each bank starts on a vector");

// Memory: a head for each vector of lanes, then the banks, [vector][section].
static vector_head *heads_of(const eh_eq *eq) { return (vector_head *)(void *)eq->memory; }

static section_bank *bank_of(const eh_eq *eq, int vector, int section) {
    section_bank *banks = (section_bank *)(void *)(heads_of(eq) + eq->n_lanes / 4);
    return banks + vector * eq->n_sections + section;
}

static void put_ramped(v4 *rows, int l, const eh_section_solution *s) {
    rows[G][l] = (float)s->g;
    rows[K][l] = (float)s->k;
    rows[N0][l] = (float)s->n0;
    rows[N1][l] = (float)s->n1;
    rows[N2][l] = (float)s->n2;
}

static void put_coefficients(coefficients *c, int l, const eh_section_solution *s) {
    const double a1 = 1.0 / (1.0 + s->g * (s->g + s->k));
    c->k[l] = (float)s->k;
    c->c2[l] = (float)(2.0 * s->g * a1);
    c->g2[l] = (float)(2.0 * s->g);
    c->n0[l] = (float)s->n0;
    c->nh[l] = (float)(0.5 * s->n1);
    c->n2[l] = (float)(s->n2 * a1);
}

static void put_idle(section_bank *b, int l) {
    put_ramped(b->target, l, &EH_SECTION_IDLE);
    put_coefficients(&b->then, l, &EH_SECTION_IDLE);
    b->s1[l] = b->u2[l] = 0.0f;
    b->is_flat[l] = b->is_idle[l] = 1;
}

// Arrives: from here on the steady loops run, until the next set.
static void end_ramp(section_bank *b) {
    int n_flat = 0, n_bells = 0, n_high_passes = 0;
    for (int l = 0; l < 4; l++) {
        if (b->is_flat[l]) put_idle(b, l);
        n_flat += b->is_flat[l];
        n_bells += !b->is_flat[l] && b->design[l].type == EH_SECTION_BELL;
        n_high_passes += !b->is_flat[l] && b->design[l].type == EH_SECTION_HIGH_PASS;
    }
    b->now = b->then;
    memcpy(b->at, b->target, sizeof b->at);
    b->ramp_left = 0;
    b->loop = n_flat == 4             ? LOOP_FLAT
              : n_flat + n_bells == 4 ? LOOP_BELL
              : n_high_passes == 4    ? LOOP_HIGH_PASS
                                      : LOOP_GENERAL;
}

static void note_active(eh_eq *eq, int vector, int section) {
    const section_bank *b = bank_of(eq, vector, section);
    const uint32_t bit = 1u << section;
    if (b->loop == LOOP_FLAT && b->ramp_left == 0) {
        heads_of(eq)[vector].active &= ~bit;
    } else {
        heads_of(eq)[vector].active |= bit;
    }
}

size_t eh_eq_size_bytes(int n_lanes, int n_sections) {
    return (size_t)n_lanes / 4 * (sizeof(vector_head) + (size_t)n_sections * sizeof(section_bank));
}

eh_status eh_eq_init(eh_eq *eq, float sample_rate_hz, int n_lanes, int n_sections, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    if (n_sections < 1 || n_sections > EH_EQ_MAX_SECTIONS || memory == NULL) return EH_ERR_ARGUMENT;
    *eq = (eh_eq){.sample_rate_hz = sample_rate_hz, .n_lanes = n_lanes, .n_sections = n_sections, .memory = memory};
    memset(memory, 0, eh_eq_size_bytes(n_lanes, n_sections));
    for (int vector = 0; vector < n_lanes / 4; vector++) {
        for (int section = 0; section < n_sections; section++) {
            section_bank *b = bank_of(eq, vector, section);
            for (int l = 0; l < 4; l++) put_idle(b, l);
            end_ramp(b);
        }
    }
    return EH_OK;
}

void eh_eq_set(eh_eq *eq, int lane, int section, const eh_section_design *design, float ramp_ms) {
    section_bank *b = bank_of(eq, lane / 4, section);
    const int l = lane % 4, is_flat = eh_section_is_flat(design);
    if (is_flat && b->is_flat[l]) return;
    if (!is_flat && !b->is_flat[l] && memcmp(design, &b->design[l], sizeof *design) == 0) return;
    b->is_flat[l] = is_flat;
    if (is_flat) {
        b->target[N0][l] = 1.0f;
        b->target[N1][l] = b->target[N2][l] = 0.0f;
    } else {
        const eh_section_solution s = eh_section_solve(design, eq->sample_rate_hz);
        b->design[l] = *design;
        put_ramped(b->target, l, &s);
        put_coefficients(&b->then, l, &s);
        if (b->is_idle[l]) {  // nothing sounds in it: only the n need a ramp
            b->at[G][l] = b->target[G][l];
            b->at[K][l] = b->target[K][l];
            b->is_idle[l] = 0;
        }
    }
    b->ramp_left = eh_ramp_frames(ramp_ms, eq->sample_rate_hz);
    const v4 n_ramp = v4_set1((float)b->ramp_left);
    for (int i = 0; i < N_RAMPED; i++) b->step[i] = (b->target[i] - b->at[i]) / n_ramp;
    note_active(eq, lane / 4, section);
}

void eh_eq_reset(eh_eq *eq) {
    eq->phase = 0;
    for (int vector = 0; vector < eq->n_lanes / 4; vector++) {
        for (int section = 0; section < eq->n_sections; section++) {
            section_bank *b = bank_of(eq, vector, section);
            end_ramp(b);
            b->s1 = b->u2 = v4_set1(0.0f);
            note_active(eq, vector, section);
        }
    }
}

void eh_eq_reset_lane(eh_eq *eq, int lane) {
    const int l = lane % 4;
    for (int section = 0; section < eq->n_sections; section++) {
        section_bank *b = bank_of(eq, lane / 4, section);
        b->s1[l] = b->u2[l] = 0.0f;
        for (int i = 0; i < N_RAMPED; i++) {
            b->at[i][l] = b->target[i][l];
            b->step[i][l] = 0.0f;
        }
    }
}

#define INLINED static inline __attribute__((always_inline))

INLINED v4 bell(v4 v0, const coefficients *c, v4 *s1, v4 *u2) {
    v4 h = v0 - *u2;
    v4 y = v4_fma(c->nh, *s1, v0);
    h = v4_fnma(c->k, *s1, h);
    *s1 = v4_fma(c->c2, h, *s1);
    y = v4_fma(c->nh, *s1, y);
    *u2 = v4_fma(c->g2, *s1, *u2);
    return y;
}

INLINED v4 high_pass(v4 v0, const coefficients *c, v4 *s1, v4 *u2) {
    const v4 h = v4_fnma(c->k, *s1, v0 - *u2);
    *s1 = v4_fma(c->c2, h, *s1);
    *u2 = v4_fma(c->g2, *s1, *u2);
    return c->n2 * h;
}

INLINED v4 general(v4 v0, const coefficients *c, v4 *s1, v4 *u2) {
    const v4 h = v4_fnma(c->k, *s1, v0 - *u2);
    v4 y = v4_fma(c->nh, *s1, c->n0 * v0);
    y = v4_fma(c->n2, h, y);
    *s1 = v4_fma(c->c2, h, *s1);
    *u2 = v4_fma(c->g2, *s1, *u2);
    return v4_fma(c->nh, *s1, y);
}

// One pass over consecutive sections: each frame is loaded and stored once, and the recurrences of the sections fill
// each other's latencies. Called with constant counts only: high-passes, then general sections, bells, general
// sections.
INLINED void pass(section_bank *const *banks, int n_high_passes, int n_heads, int n_bells, int n_tails, const float *x,
                  float *y, size_t n_frames, size_t stride) {
    const int first_bell = n_high_passes + n_heads, first_tail = first_bell + n_bells, n = first_tail + n_tails;
    coefficients c0, c1, c2, c3, c4, c5, c6;
    v4 s0, s1, s2, s3, s4, s5, s6, u0, u1, u2, u3, u4, u5, u6;
#define SECTIONS(DO)  \
    DO(0, c0, s0, u0) \
    DO(1, c1, s1, u1) \
    DO(2, c2, s2, u2) \
    DO(3, c3, s3, u3) DO(4, c4, s4, u4) DO(5, c5, s5, u5) DO(6, c6, s6, u6)
#define LOAD(i, c, s, u) \
    if (i < n) c = banks[i]->now, s = banks[i]->s1, u = banks[i]->u2;
#define STEP(i, c, s, u)                            \
    if (i < n_high_passes) {                        \
        v = high_pass(v, &c, &s, &u);               \
    } else if (i >= first_bell && i < first_tail) { \
        v = bell(v, &c, &s, &u);                    \
    } else if (i < n) {                             \
        v = general(v, &c, &s, &u);                 \
    }
#define SAVE(i, c, s, u) \
    if (i < n) banks[i]->s1 = s, banks[i]->u2 = u;
    SECTIONS(LOAD)
    EH_FOUR_A_TURN
    for (; n_frames > 0; n_frames--, x += stride, y += stride) {
        v4 v = v4_load(x);
        SECTIONS(STEP)
        v4_store(y, v);
    }
    SECTIONS(SAVE)
#undef SAVE
#undef STEP
#undef LOAD
#undef SECTIONS
}

// What fits one pass: a high-pass, a general section (a low shelf), bells, a general section (a high shelf, a tilt).
enum { N_PARTS = 4, MAX_FUSED = 7 };
static const struct {
    int loop, max;
} PARTS[N_PARTS] = {{LOOP_HIGH_PASS, 1}, {LOOP_GENERAL, 1}, {LOOP_BELL, 4}, {LOOP_GENERAL, 1}};

typedef void (*pass_function)(section_bank *const *, const float *, float *, size_t, size_t);
#define PASS(p, h, b, t)                                                                                           \
    static void pass_##p##h##b##t(section_bank *const *banks, const float *x, float *y, size_t n, size_t stride) { \
        pass(banks, p, h, b, t, x, y, n, stride);                                                                  \
    }
#define EACH_TAIL(DO, p, h, b) DO(p, h, b, 0) DO(p, h, b, 1)
#define EACH_BELL(DO, p, h) \
    EACH_TAIL(DO, p, h, 0) EACH_TAIL(DO, p, h, 1) EACH_TAIL(DO, p, h, 2) EACH_TAIL(DO, p, h, 3) EACH_TAIL(DO, p, h, 4)
#define EACH(DO) EACH_BELL(DO, 0, 0) EACH_BELL(DO, 0, 1) EACH_BELL(DO, 1, 0) EACH_BELL(DO, 1, 1)
EACH(PASS)
#define ENTRY(p, h, b, t) [p][h][b][t] = pass_##p##h##b##t,
static const pass_function PASSES[2][2][5][2] = {EACH(ENTRY)};

// Runs as many of the banks as fit one pass, and returns how many.
static int pass_steady(section_bank *const *banks, int n_banks, const float *x, float *y, size_t n_frames,
                       size_t stride) {
    int counts[N_PARTS] = {0}, n = 0;
    for (int i = 0; i < N_PARTS; i++) {
        for (; n < n_banks && counts[i] < PARTS[i].max && banks[n]->loop == PARTS[i].loop; n++) counts[i]++;
    }
    PASSES[counts[0]][counts[1]][counts[2]][counts[3]](banks, x, y, n_frames, stride);
    return n;
}

// Frames while the coefficients move, counted back from the target so that no rounding adds up on the way.
static size_t pass_ramp(section_bank *b, const float *x, float *y, size_t n_frames, size_t stride) {
    const size_t n = n_frames < (size_t)b->ramp_left ? n_frames : (size_t)b->ramp_left;
    v4 s1 = b->s1, u2 = b->u2, at[N_RAMPED];
    memcpy(at, b->at, sizeof at);
    for (size_t i = 0; i < n; i++, x += stride, y += stride) {
        const v4 left = v4_set1((float)--b->ramp_left), g = at[G];
        for (int j = 0; j < N_RAMPED; j++) at[j] = v4_fnma(b->step[j], left, b->target[j]);
        u2 = v4_fma(at[G] - g, s1, u2);
        const v4 a1 = v4_set1(1.0f) / v4_fma(at[G], at[G] + at[K], v4_set1(1.0f)), g2 = at[G] + at[G];
        const coefficients c = {at[K], g2 * a1, g2, at[N0], at[N1] * 0.5f, at[N2] * a1};
        v4_store(y, general(v4_load(x), &c, &s1, &u2));
    }
    memcpy(b->at, at, sizeof at);
    b->s1 = s1;
    b->u2 = u2;
    return n;
}

// Four vectors whose only section is a high-pass: alone, each would wait for its own recurrence.
enum { SIDE_BY_SIDE = 4 };

static void pass_high_passes(section_bank *const *banks, const float *x, float *y, size_t n_frames, size_t stride) {
    coefficients c[SIDE_BY_SIDE];
    v4 s1[SIDE_BY_SIDE], u2[SIDE_BY_SIDE];
    for (int i = 0; i < SIDE_BY_SIDE; i++) c[i] = banks[i]->now, s1[i] = banks[i]->s1, u2[i] = banks[i]->u2;
    EH_FOUR_A_TURN
    for (; n_frames > 0; n_frames--, x += stride, y += stride)
        for (int i = 0; i < SIDE_BY_SIDE; i++)
            v4_store(y + 4 * i, high_pass(v4_load(x + 4 * i), &c[i], &s1[i], &u2[i]));
    for (int i = 0; i < SIDE_BY_SIDE; i++) banks[i]->s1 = s1[i], banks[i]->u2 = u2[i];
}

// Finds the high-passes of as many vectors as run side by side; returns 0 where anything else is to be done.
static int find_high_passes(eh_eq *eq, int vector, section_bank **banks) {
    if (vector + SIDE_BY_SIDE > eq->n_lanes / 4) return 0;
    for (int i = 0; i < SIDE_BY_SIDE; i++) {
        const uint32_t active = heads_of(eq)[vector + i].active;
        if (active == 0 || (active & (active - 1)) != 0) return 0;
        banks[i] = bank_of(eq, vector + i, __builtin_ctz(active));
        if (banks[i]->loop != LOOP_HIGH_PASS || banks[i]->ramp_left > 0) return 0;
    }
    return 1;
}

static void copy_frames(const float *x, float *y, size_t n_frames, size_t stride) {
    if (x == y) return;
    for (; n_frames > 0; n_frames--, x += stride, y += stride) v4_store(y, v4_load(x));
}

static void process_vector(eh_eq *eq, int vector, const float *x, float *y, size_t n_frames) {
    const size_t stride = (size_t)eq->n_lanes;
    uint32_t left = heads_of(eq)[vector].active;
    if (left == 0) copy_frames(x, y, n_frames, stride);
    for (; left != 0; x = y) {
        const int section = __builtin_ctz(left);
        section_bank *banks[MAX_FUSED] = {bank_of(eq, vector, section)};
        if (banks[0]->ramp_left > 0) {
            left &= left - 1;
            const size_t n = pass_ramp(banks[0], x, y, n_frames, stride), done = n * stride;
            if (banks[0]->ramp_left > 0) continue;
            end_ramp(banks[0]);
            note_active(eq, vector, section);
            if (banks[0]->loop == LOOP_FLAT) {
                copy_frames(x + done, y + done, n_frames - n, stride);
            } else {
                pass_steady(banks, 1, x + done, y + done, n_frames - n, stride);
            }
            continue;
        }
        int n_banks = 0;
        for (uint32_t ahead = left; ahead != 0 && n_banks < MAX_FUSED; ahead &= ahead - 1) {
            section_bank *next = bank_of(eq, vector, __builtin_ctz(ahead));
            if (next->ramp_left > 0) break;
            banks[n_banks++] = next;
        }
        for (int n = pass_steady(banks, n_banks, x, y, n_frames, stride); n > 0; n--) left &= left - 1;
    }
}

// Without this a sound would ring on for ever at the edge of the number range.
static void settle(eh_eq *eq) {
    const v4 least = v4_set1(DIED_AWAY_LIN), zero = v4_set1(0.0f);
    for (int vector = 0; vector < eq->n_lanes / 4; vector++) {
        for (uint32_t left = heads_of(eq)[vector].active; left != 0; left &= left - 1) {
            section_bank *b = bank_of(eq, vector, __builtin_ctz(left));
            const v4i is_still = (v4_abs(b->s1) < least) & (v4_abs(b->u2) < least);
            b->s1 = v4_select(is_still, zero, b->s1);
            b->u2 = v4_select(is_still, zero, b->u2);
        }
    }
}

void eh_eq_process(eh_eq *eq, const float *in, float *out, size_t n_frames) {
    while (n_frames > 0) {
        const size_t until_settle = (size_t)(SETTLE_FRAMES - eq->phase);
        const size_t n = n_frames < until_settle ? n_frames : until_settle;
        for (int vector = 0; vector < eq->n_lanes / 4;) {
            section_bank *banks[SIDE_BY_SIDE];
            const float *x = in + 4 * vector;
            float *y = out + 4 * vector;
            if (find_high_passes(eq, vector, banks)) {
                pass_high_passes(banks, x, y, n, (size_t)eq->n_lanes);
                vector += SIDE_BY_SIDE;
            } else {
                process_vector(eq, vector++, x, y, n);
            }
        }
        eq->phase += (int32_t)n;
        if (eq->phase == SETTLE_FRAMES) {
            settle(eq);
            eq->phase = 0;
        }
        in += n * (size_t)eq->n_lanes;
        out += n * (size_t)eq->n_lanes;
        n_frames -= n;
    }
}
