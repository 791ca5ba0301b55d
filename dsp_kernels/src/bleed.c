// Bleed and activity.
#include "bleed.h"

#include "evenhand/types.h"
#include "spectral_math.h"

#define LOUDER_POWER 2.0f     // a source is 3 dB louder
#define LEAST_COHERENCE 0.2f  // above what independent sounds show by chance
#define LEAST_PRESENCE 0.1f   // frames of the last seconds in which the source sounded
#define BLEED_COHERENCE 0.5f
#define STAYS_BLEED_COHERENCE 0.4f
#define BLEED_LOUDER_POWER 3.9810717f  // 6 dB
#define GATE_POWER 1e-7f               // -70 dBFS
#define ABOVE_FLOOR_DB 6.0f
#define STAYS_ABOVE_FLOOR_DB 3.0f
#define HIGHEST_FLOOR_DBFS -40.0f  // what is this loud is no noise, however steady
#define SOURCE_OVER_FLOOR_DB 3.0f
#define HOLD_MS 100.0f
enum { DELAY_HOPS = 3 };  // the longest delay between microphones that is looked for, and a hop

void eh_bleed_init(eh_bleed *b, int n_groups, float hop_ms, eh_arena *arena) {
    b->n_groups = n_groups;
    b->hold_hops = HOLD_MS / hop_ms;
    b->group = eh_arena_take(arena, (size_t)n_groups * sizeof *b->group);
    b->recent_level = eh_arena_take(arena, (size_t)n_groups * sizeof(v4));
}

void eh_bleed_reset(eh_bleed *b) {
    memset(b->group, 0, (size_t)b->n_groups * sizeof *b->group);
    for (int g = 0; g < b->n_groups; g++) b->group[g].source = v4_set1(-1.0f);
}

v4 eh_bleed_least_source_power(v4 floor_db) {
    const v4 least_db = v4_min(floor_db, v4_set1(HIGHEST_FLOOR_DBFS)) + SOURCE_OVER_FLOOR_DB;
    return v4_exp2_bounded(least_db * (float)(2 / EH_DB_PER_LOG2));
}

void eh_bleed_choose(eh_bleed *b, const eh_pairs *pairs) {
    const v4 *power = eh_pairs_latest_power(pairs), zero = v4_set1(0.0f), one = v4_set1(1.0f);
    for (int g = 0; g < b->n_groups; g++) {
        eh_bleed_group *s = &b->group[g];
        v4 best = zero, coherence = zero, source = v4_set1(-1.0f), delay_ms = zero;
        for (int a = 0; a < b->n_groups * 4; a++) {
            const eh_quad *quad = &pairs->quad[a * b->n_groups + g];
            const v4i sounds_now = v4_set1(power[a / 4][a % 4]) > power[g] * LOUDER_POWER;
            const v4 merit = quad->coherence + v4_select(sounds_now, one, zero);  // any that sounds now comes first
            v4i better = (quad->coherence > v4_set1(LEAST_COHERENCE)) & (merit > best) &
                         (quad->power_a > quad->power_b * LOUDER_POWER) & (quad->presence > v4_set1(LEAST_PRESENCE));
            if (a / 4 == g) better[a % 4] = 0;
            best = v4_select(better, merit, best);
            coherence = v4_select(better, quad->coherence, coherence);
            source = v4_select(better, v4_set1((float)a), source);
            delay_ms = v4_select(better, quad->delay_ms, delay_ms);
        }
        s->source = source;
        s->coherence = coherence;
        s->delay_ms = delay_ms;
    }
}

// Whether each channel hears one that is louder by 6 dB, at the time at which the sound left there.
static v4i hears_others(const eh_bleed *b, const eh_pairs *pairs, int group, v4 level) {
    const v4 enough =
        v4_select(b->group[group].is_bleed > v4_set1(0.0f), v4_set1(STAYS_BLEED_COHERENCE), v4_set1(BLEED_COHERENCE));
    v4i hears = (v4i)v4_set1(0.0f);
    for (int a = 0; a < b->n_groups * 4; a++) {
        const v4 louder = v4_set1(b->recent_level[a / 4][a % 4]);
        v4i from_a = (pairs->quad[a * b->n_groups + group].coherence > enough) & (louder > level * BLEED_LOUDER_POWER);
        if (a / 4 == group) from_a[a % 4] = 0;
        hears |= from_a;
    }
    return hears;
}

void eh_bleed_decide(eh_bleed *b, const eh_envelope *envelope, const eh_pairs *pairs) {
    const v4 one = v4_set1(1.0f), zero = v4_set1(0.0f);
    for (int g = 0; g < b->n_groups; g++) {
        v4 level = eh_envelope_level(envelope, g, 0);
        for (int ago = 1; ago <= DELAY_HOPS; ago++) level = v4_max(level, eh_envelope_level(envelope, g, ago));
        b->recent_level[g] = level;
    }
    for (int g = 0; g < b->n_groups; g++) {
        eh_bleed_group *s = &b->group[g];
        const v4 level = eh_envelope_level(envelope, g, 0);
        const v4i is_bleed = hears_others(b, pairs, g, level);
        s->is_bleed = v4_select(is_bleed, one, zero);

        const v4 level_db = v4_power_to_db(level, EH_SILENCE_DBFS);
        const v4 floor_db = v4_min(envelope->group[g].floor_db, v4_set1(HIGHEST_FLOOR_DBFS));
        const v4 above = v4_select(s->is_active > zero, v4_set1(STAYS_ABOVE_FLOOR_DB), v4_set1(ABOVE_FLOOR_DB));
        const v4i stands_clear = (level_db > floor_db + above) & (level > v4_set1(GATE_POWER));
        s->idle_hops = v4_select(stands_clear, zero, v4_min(s->idle_hops + one, v4_set1(1e6f)));
        const v4i holds = (s->is_active > zero) & (s->idle_hops <= v4_set1(b->hold_hops));
        s->is_active = v4_select((stands_clear | holds) & ~is_bleed, one, zero);
    }
}
