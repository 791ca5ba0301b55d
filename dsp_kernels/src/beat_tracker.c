// Bar pointer as a forward filter. A state is a period of N steps and a place in it; each step all move on by one, and
// at the end of a beat the period may change: probability exp(-60 |N'/N - 1|). An activation a says of places in the
// first sixteenth of the beat a^2, of the others (1 - a^2) / 15: the square, because the weak half of a network's
// activations is noise. A thousandth begins anew each tick, so that a new tempo is found.
#include "evenhand/beat_tracker.h"

#include "simd.h"
#include "units.h"

#define STIFFNESS 60.0
#define ZONE_SHARE (1.0f / 16.0f)
#define LEAST 0.02f
#define RESTART 1e-3f
#define PRIOR_STEPS 52.0  // 115 BPM, give or take 0.7 octaves
#define PRIOR_OCTAVES 0.7
#define TICK_MS 20.0
#define PRESENCE_MS 2000.0
#define PRESENT 0.5f
#define LEAST_CONFIDENCE 0.1f
#define SHORTEST_BEAT 0.6f  // of a period: no beat sooner
#define LATEST_PHASE 0.25f
#define BAR_KEEP 0.6f
#define BAR_CONTRAST 0.05f
enum { NEAR_PERIODS = 3, N_METERS = 2 };

static const int BEATS_PER_BAR[N_METERS] = {4, 3};

static int steps_of(int period) { return EH_BEAT_FIRST_STEPS + period; }
static int first_of(int period) { return period * EH_BEAT_FIRST_STEPS + period * (period - 1) / 2; }

static void make_moves(eh_beat_tracker *b) {
    for (int from = 0; from < EH_BEAT_PERIODS; from++) {
        double weight[EH_BEAT_MOVES], sum = 0.0;
        for (int k = 0; k < EH_BEAT_MOVES; k++) {
            const int to = from + k - EH_BEAT_REACH;
            const double ratio = (double)steps_of(to) / steps_of(from), off = ratio > 1.0 ? ratio - 1.0 : 1.0 - ratio;
            weight[k] = to >= 0 && to < EH_BEAT_PERIODS ? eh_exp2(-STIFFNESS * off / EH_LN2) : 0.0;
            sum += weight[k];
        }
        for (int k = 0; k < EH_BEAT_MOVES; k++) {
            const int to = from + k - EH_BEAT_REACH;
            if (to >= 0 && to < EH_BEAT_PERIODS) b->move[to][EH_BEAT_MOVES - 1 - k] = (float)(weight[k] / sum);
        }
    }
}

eh_status eh_beat_tracker_init(eh_beat_tracker *b) {
    double weight[EH_BEAT_PERIODS], sum = 0.0, sine, cosine;
    *b = (eh_beat_tracker){.presence = 0.0f};
    make_moves(b);
    for (int i = 0; i < EH_BEAT_PERIODS; i++) {
        const double octaves = eh_log2(steps_of(i) / PRIOR_STEPS) / PRIOR_OCTAVES;
        sum += weight[i] = eh_exp2(-0.5 * octaves * octaves / EH_LN2);
        eh_sincos(2 * EH_PI / steps_of(i), &sine, &cosine);
        b->turn[i][0] = (float)cosine;
        b->turn[i][1] = (float)sine;
    }
    for (int i = 0; i < EH_BEAT_PERIODS; i++) b->prior[i] = (float)(weight[i] / sum / steps_of(i));
    eh_beat_tracker_reset(b);
    return EH_OK;
}

void eh_beat_tracker_reset(eh_beat_tracker *b) {
    memset(b->state, 0, sizeof b->state);
    memset(b->bar, 0, sizeof b->bar);
    for (int i = 0; i < EH_BEAT_PERIODS; i++) {
        b->head[i] = 0;
        for (int k = 0; k < steps_of(i); k++) b->state[first_of(i) + k] = b->prior[i];
    }
    b->presence = b->downbeat = 0.0f;
    b->since_beat = 0;
    b->is_judged = 1;
    b->n_beats = 0;
}

static void step(eh_beat_tracker *b) {
    float out[EH_BEAT_PERIODS + 2 * EH_BEAT_REACH] = {0.0f};
    for (int i = 0; i < EH_BEAT_PERIODS; i++) {
        b->head[i] = b->head[i] == 0 ? steps_of(i) - 1 : b->head[i] - 1;  // the last place is the next beat's first
        out[i + EH_BEAT_REACH] = b->state[first_of(i) + b->head[i]];
    }
    for (int i = 0; i < EH_BEAT_PERIODS; i++) {
        float sum = 0.0f;
        for (int k = 0; k < EH_BEAT_MOVES; k++) sum += b->move[i][k] * out[i + k];
        b->state[first_of(i) + b->head[i]] = sum;
    }
}

static void weigh_zones(eh_beat_tracker *b, float ratio) {
    for (int i = 0; i < EH_BEAT_PERIODS; i++) {
        const int n = steps_of(i), n_zone = (n + 15) / 16;
        float *state = b->state + first_of(i);
        for (int k = 0, at = b->head[i]; k < n_zone; k++, at = at + 1 == n ? 0 : at + 1) state[at] *= ratio;
    }
}

static float sum_of(const float *x, int n) {
    v4 sum = v4_set1(0.0f);
    float rest = 0.0f;
    int i = 0;
    for (; i + EH_LANES_PER_VECTOR <= n; i += EH_LANES_PER_VECTOR) sum += v4_load(x + i);
    for (; i < n; i++) rest += x[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]) + rest;
}

static void normalise(eh_beat_tracker *b) {
    float total = 0.0f;
    for (int i = 0; i < EH_BEAT_PERIODS; i++) total += b->mass[i] = sum_of(b->state + first_of(i), steps_of(i));
    const float scale = (1.0f - RESTART) / total;
    for (int i = 0; i < EH_BEAT_PERIODS; i++) {
        const int n = steps_of(i);
        const float begun = b->prior[i] * RESTART;
        float *state = b->state + first_of(i);
        for (int k = 0; k < n; k++) state[k] = state[k] * scale + begun;
        b->mass[i] = b->mass[i] * scale + begun * (float)n;
    }
}

// The period around which most of the mass lies.
static int best_period(const eh_beat_tracker *b) {
    int best = 0;
    float most = -1.0f;
    for (int i = 0; i < EH_BEAT_PERIODS; i++) {
        float sum = 0.0f;
        for (int k = i - NEAR_PERIODS; k <= i + NEAR_PERIODS; k++)
            if (k >= 0 && k < EH_BEAT_PERIODS) sum += b->mass[k];
        if (sum > most) {
            most = sum;
            best = i;
        }
    }
    return best;
}

// Angle of (x, y) in turns from 0 to 1. Abramowitz and Stegun, 4.4.49: within 2e-6 turns.
static float turns_of(float x, float y) {
    const float ax = x < 0.0f ? -x : x, ay = y < 0.0f ? -y : y, large = ax > ay ? ax : ay;
    if (!(large > 0.0f)) return 0.0f;
    const float z = (ax > ay ? ay : ax) / large, z2 = z * z;
    float angle = z * (0.9998660f + z2 * (-0.3302995f + z2 * (0.1801410f + z2 * (-0.0851330f + z2 * 0.0208351f)))) *
                  (float)(0.5 / EH_PI);
    if (ay > ax) angle = 0.25f - angle;
    if (x < 0.0f) angle = 0.5f - angle;
    if (y < 0.0f) angle = 1.0f - angle;
    return angle < 1.0f ? angle : 0.0f;
}

// Mean over the periods near the best one: phase, how far it is agreed on, and steps of a beat.
static void locate(const eh_beat_tracker *b, float *phase, float *agreement, float *steps) {
    const int best = best_period(b);
    float x = 0.0f, y = 0.0f, mass = 0.0f, moment = 0.0f;
    for (int i = best - NEAR_PERIODS; i <= best + NEAR_PERIODS; i++) {
        if (i < 0 || i >= EH_BEAT_PERIODS) continue;
        const float *state = b->state + first_of(i), turn_re = b->turn[i][0], turn_im = b->turn[i][1];
        float re = 1.0f, im = 0.0f;
        for (int k = 0, at = b->head[i]; k < steps_of(i); k++, at = at + 1 == steps_of(i) ? 0 : at + 1) {
            x += state[at] * re;
            y += state[at] * im;
            const float next = re * turn_re - im * turn_im;
            im = re * turn_im + im * turn_re;
            re = next;
        }
        mass += b->mass[i];
        moment += b->mass[i] * (float)steps_of(i);
    }
    *phase = turns_of(x, y);
    *agreement = __builtin_sqrtf(x * x + y * y);
    *steps = moment / mass;
}

// What was heard around the last beat belongs to its place in the bar.
static void judge(eh_beat_tracker *b) {
    for (int m = 0; m < N_METERS; m++) {
        float *score = &b->bar[m][b->n_beats % (uint32_t)BEATS_PER_BAR[m]];
        *score = *score * BAR_KEEP + b->downbeat * (1.0f - BAR_KEEP);
    }
    b->downbeat = 0.0f;
    b->is_judged = 1;
}

// Whether the beat that begins is the first of its bar.
static int begin_beat(eh_beat_tracker *b) {
    int is_downbeat = 0;
    float largest_contrast = 0.0f;
    b->n_beats++;
    b->is_judged = 0;
    b->since_beat = 0;
    for (int m = 0; m < N_METERS; m++) {
        const int n = BEATS_PER_BAR[m];
        int top = 0;
        float sum = 0.0f;
        for (int k = 0; k < n; k++) {
            sum += b->bar[m][k];
            if (b->bar[m][k] > b->bar[m][top]) top = k;
        }
        const float most = b->bar[m][top], contrast = most - (sum - most) / (float)(n - 1);
        if (contrast < BAR_CONTRAST || contrast <= largest_contrast) continue;
        largest_contrast = contrast;
        is_downbeat = b->n_beats % (uint32_t)n == (uint32_t)top;
    }
    return is_downbeat;
}

static float activation(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }

eh_beat eh_beat_tracker_process(eh_beat_tracker *b, float beat, float downbeat) {
    const float now = activation(beat), now_down = activation(downbeat);
    for (int i = 0; i < EH_BEAT_STEPS_PER_TICK; i++) step(b);
    const float square = now * now, a = square < LEAST ? LEAST : square > 1.0f - LEAST ? 1.0f - LEAST : square;
    weigh_zones(b, a * (1.0f / ZONE_SHARE - 1.0f) / (1.0f - a));
    normalise(b);
    b->presence *= (float)eh_one_pole_coeff(PRESENCE_MS, 1000.0 / TICK_MS);
    if (now > b->presence) b->presence = now;
    eh_beat out = {.is_beat = 0};
    float steps, agreement;
    locate(b, &out.phase, &agreement, &steps);
    const float period_ticks = steps / EH_BEAT_STEPS_PER_TICK;
    out.tempo_bpm = 6000.0f / steps;
    out.confidence = agreement * (b->presence < PRESENT ? b->presence / PRESENT : 1.0f);
    b->since_beat++;
    if (now_down > b->downbeat) b->downbeat = now_down;
    if (!b->is_judged && (float)b->since_beat >= 0.5f * period_ticks) judge(b);
    out.is_beat = out.confidence >= LEAST_CONFIDENCE && out.phase < LATEST_PHASE &&
                  (float)b->since_beat >= SHORTEST_BEAT * period_ticks;
    if (out.is_beat) out.is_downbeat = begin_beat(b);
    return out;
}
