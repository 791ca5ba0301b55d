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

typedef void (*pass_function)(section_bank *const *, size_t, const float *, float *, size_t, size_t);

// The same sections of one vector, and where the machine can, of two neighbours at once.
typedef struct {
    pass_function one, two;
} steady_pass;

enum { MAX_FUSED = 7 };  // sections in one pass

typedef struct {
    const steady_pass *whole;  // does all active sections while none of them moves; NULL where one pass is not enough
    uint32_t active;           // a bit for each section that is not flat
    uint8_t section[MAX_FUSED];
    uint8_t unused[64 - sizeof(steady_pass *) - sizeof(uint32_t) - MAX_FUSED];
} vector_head;

_Static_assert(sizeof(section_bank) % 16 == 0 && sizeof(vector_head) == 64, "each bank starts on a vector");

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
    heads_of(eq)[vector].whole = NULL;
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

// Vectors whose only section is a high-pass, in one loop: alone, each would wait for its own recurrence.
enum { SIDE_BY_SIDE = 4 };

#define EQ_WIDTH 4
#include "eq_pass.h"
#if EH_HAS_V8
#define EQ_WIDTH 8
#include "eq_pass.h"
#endif

// What fits one pass: a high-pass, a general section (a low shelf), bells, a general section (a high shelf, a tilt).
enum { N_PARTS = 4 };
static const struct {
    int loop, max;
} PARTS[N_PARTS] = {{LOOP_HIGH_PASS, 1}, {LOOP_GENERAL, 1}, {LOOP_BELL, 4}, {LOOP_GENERAL, 1}};

#define PASS_OF_WIDTH(width, p, h, b, t)                                                                       \
    static void pass_##width##_##p##h##b##t(section_bank *const *banks, size_t next, const float *x, float *y, \
                                            size_t n, size_t stride) {                                         \
        pass_##width(banks, next, p, h, b, t, x, y, n, stride);                                                \
    }
#if EH_HAS_V8
#define PASS(p, h, b, t) PASS_OF_WIDTH(4, p, h, b, t) PASS_OF_WIDTH(8, p, h, b, t)
#define ENTRY(p, h, b, t) [p][h][b][t] = {pass_4_##p##h##b##t, pass_8_##p##h##b##t},
#else
#define PASS(p, h, b, t) PASS_OF_WIDTH(4, p, h, b, t)
#define ENTRY(p, h, b, t) [p][h][b][t] = {pass_4_##p##h##b##t, NULL},
#endif
#define EACH_TAIL(DO, p, h, b) DO(p, h, b, 0) DO(p, h, b, 1)
#define EACH_BELL(DO, p, h) \
    EACH_TAIL(DO, p, h, 0) EACH_TAIL(DO, p, h, 1) EACH_TAIL(DO, p, h, 2) EACH_TAIL(DO, p, h, 3) EACH_TAIL(DO, p, h, 4)
#define EACH(DO) EACH_BELL(DO, 0, 0) EACH_BELL(DO, 0, 1) EACH_BELL(DO, 1, 0) EACH_BELL(DO, 1, 1)
EACH(PASS)
static const steady_pass PASSES[2][2][5][2] = {EACH(ENTRY)};

// Finds the pass for as many of the banks as fit one.
static const steady_pass *find_pass(section_bank *const *banks, int n_banks, int *n_fitting) {
    int counts[N_PARTS] = {0}, n = 0;
    for (int i = 0; i < N_PARTS; i++) {
        for (; n < n_banks && counts[i] < PARTS[i].max && banks[n]->loop == PARTS[i].loop; n++) counts[i]++;
    }
    *n_fitting = n;
    return &PASSES[counts[0]][counts[1]][counts[2]][counts[3]];
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
        const constants_4 c = {at[K], g2 * a1, g2, at[N0], at[N1] * 0.5f, at[N2] * a1};
        v4_store(y, general_4(v4_load(x), &c, &s1, &u2));
    }
    memcpy(b->at, at, sizeof at);
    b->s1 = s1;
    b->u2 = u2;
    return n;
}

// Finds the high-passes of as many vectors as run side by side; returns 0 where anything else is to be done.
static int find_high_passes(eh_eq *eq, int vector, int n_vectors, section_bank **banks) {
    if (vector + n_vectors > eq->n_lanes / 4) return 0;
    for (int i = 0; i < n_vectors; i++) {
        const uint32_t active = heads_of(eq)[vector + i].active;
        if (active == 0 || (active & (active - 1)) != 0) return 0;
        banks[i] = bank_of(eq, vector + i, __builtin_ctz(active));
        if (banks[i]->loop != LOOP_HIGH_PASS || banks[i]->ramp_left > 0) return 0;
    }
    return 1;
}

static void find_whole(const eh_eq *eq, int vector, section_bank **banks) {
    for (int i = 0; i < MAX_FUSED; i++) banks[i] = bank_of(eq, vector, heads_of(eq)[vector].section[i]);
}

// Runs what it can of the vectors from this one on side by side, and returns how many that was.
static int process_neighbours(eh_eq *eq, int vector, const float *x, float *y, size_t n_frames) {
    const size_t stride = (size_t)eq->n_lanes;
    section_bank *banks[2 * SIDE_BY_SIDE];
#if EH_HAS_V8
    if (find_high_passes(eq, vector, 2 * SIDE_BY_SIDE, banks)) {
        pass_high_passes_8(banks, x, y, n_frames, stride);
        return 2 * SIDE_BY_SIDE;
    }
#endif
    if (find_high_passes(eq, vector, SIDE_BY_SIDE, banks)) {
        pass_high_passes_4(banks, x, y, n_frames, stride);
        return SIDE_BY_SIDE;
    }
    const vector_head *head = &heads_of(eq)[vector];
    if (!EH_HAS_V8 || vector + 2 > eq->n_lanes / 4 || head->whole == NULL) return 0;
    if (head->whole != head[1].whole || head->active != head[1].active) return 0;
    find_whole(eq, vector, banks);
    head->whole->two(banks, (size_t)eq->n_sections, x, y, n_frames, stride);
    return 2;
}

static void copy_frames(const float *x, float *y, size_t n_frames, size_t stride) {
    if (x == y) return;
    for (; n_frames > 0; n_frames--, x += stride, y += stride) v4_store(y, v4_load(x));
}

static void process_vector(eh_eq *eq, int vector, const float *x, float *y, size_t n_frames) {
    const size_t stride = (size_t)eq->n_lanes;
    vector_head *head = &heads_of(eq)[vector];
    uint32_t left = head->active;
    if (left == 0) copy_frames(x, y, n_frames, stride);
    if (head->whole != NULL) {
        section_bank *banks[MAX_FUSED];
        find_whole(eq, vector, banks);
        head->whole->one(banks, 0, x, y, n_frames, stride);
        return;
    }
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
                int n_fitting;
                find_pass(banks, 1, &n_fitting)->one(banks, 0, x + done, y + done, n_frames - n, stride);
            }
            continue;
        }
        int n_banks = 0, n_fitting;
        for (uint32_t ahead = left; ahead != 0 && n_banks < MAX_FUSED; ahead &= ahead - 1) {
            section_bank *next = bank_of(eq, vector, __builtin_ctz(ahead));
            if (next->ramp_left > 0) break;
            head->section[n_banks] = (uint8_t)__builtin_ctz(ahead);
            banks[n_banks++] = next;
        }
        const steady_pass *steady = find_pass(banks, n_banks, &n_fitting);
        steady->one(banks, 0, x, y, n_frames, stride);
        const int is_first = left == head->active;
        for (int n = n_fitting; n > 0; n--) left &= left - 1;
        if (is_first && left == 0) head->whole = steady;
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
            const float *x = in + 4 * vector;
            float *y = out + 4 * vector;
            const int n_done = process_neighbours(eq, vector, x, y, n);
            if (n_done == 0) process_vector(eq, vector, x, y, n);
            vector += n_done > 0 ? n_done : 1;
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
