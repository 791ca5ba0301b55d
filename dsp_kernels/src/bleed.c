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

void eh_bleed_init(eh_bleed *b, int n_groups, float hop_ms, eh_arena *arena) {
    b->n_groups = n_groups;
    b->hop_ms = hop_ms;
    b->hold_hops = HOLD_MS / hop_ms;
    b->group = eh_arena_take(arena, (size_t)n_groups * sizeof *b->group);
}

void eh_bleed_reset(eh_bleed *b) {
    memset(b->group, 0, (size_t)b->n_groups * sizeof *b->group);
    for (int g = 0; g < b->n_groups; g++) b->group[g].source = v4_set1(-1.0f);
}

v4 eh_bleed_least_source_power(const eh_bleed *b, int group, v4 floor_db) {
    const v4 least_db = v4_min(floor_db, v4_set1(HIGHEST_FLOOR_DBFS)) + SOURCE_OVER_FLOOR_DB;
    const v4 least_power = v4_exp2(least_db * (float)(2 / EH_DB_PER_LOG2));
    return v4_select(b->group[group].is_bleed > v4_set1(0.0f), v4_set1(1e30f), least_power);
}

void eh_bleed_choose(eh_bleed *b, const eh_pairs *pairs) {
    for (int g = 0; g < b->n_groups; g++) {
        eh_bleed_group *s = &b->group[g];
        const v4 zero = v4_set1(0.0f);
        v4 coherence = v4_set1(LEAST_COHERENCE), source = v4_set1(-1.0f), delay_ms = zero;
        for (int a = 0; a < b->n_groups * 4; a++) {
            const eh_quad *quad = &pairs->quad[a * b->n_groups + g];
            v4i better = (quad->coherence > coherence) & (quad->power_a > quad->power_b * LOUDER_POWER) &
                         (quad->presence > v4_set1(LEAST_PRESENCE));
            if (a / 4 == g) better[a % 4] = 0;
            coherence = v4_select(better, quad->coherence, coherence);
            source = v4_select(better, v4_set1((float)a), source);
            delay_ms = v4_select(better, quad->delay_ms, delay_ms);
        }
        s->source = source;
        s->coherence = v4_select(source >= zero, coherence, zero);
        s->delay_ms = delay_ms;
    }
}

// The source's level when the sound that arrives here now left it, at its largest around then.
static float source_level(const eh_bleed *b, const eh_envelope *envelope, int source, float delay_ms) {
    const float hops = delay_ms / b->hop_ms;
    const int last = hops <= 0.0f ? 1 : (int)hops + 2;
    float level = 0.0f;
    for (int ago = 0; ago <= last && ago < EH_LEVEL_HOPS; ago++) {
        const float then = eh_envelope_level(envelope, source / 4, ago)[source % 4];
        level = then > level ? then : level;
    }
    return level;
}

void eh_bleed_decide(eh_bleed *b, const eh_envelope *envelope) {
    const v4 one = v4_set1(1.0f), zero = v4_set1(0.0f);
    for (int g = 0; g < b->n_groups; g++) {
        eh_bleed_group *s = &b->group[g];
        const v4 level = eh_envelope_level(envelope, g, 0);
        v4 louder = zero;
        for (int lane = 0; lane < 4; lane++)
            if (s->source[lane] >= 0.0f)
                louder[lane] = source_level(b, envelope, (int)s->source[lane], s->delay_ms[lane]);
        const v4 enough = v4_select(s->is_bleed > zero, v4_set1(STAYS_BLEED_COHERENCE), v4_set1(BLEED_COHERENCE));
        const v4i is_bleed = (s->coherence > enough) & (louder > level * BLEED_LOUDER_POWER);
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
