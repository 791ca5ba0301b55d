// Levels of four lanes at once, in float32, for analysis.
#pragma once

#include "log2exp2.h"
#include "units.h"

// 2^x, held within the range of v4_exp2.
static inline v4 v4_exp2_bounded(v4 x) { return v4_exp2(v4_min(v4_max(x, v4_set1(-120.0f)), v4_set1(120.0f))); }

// 10 log10(power), never under floor_db.
static inline v4 v4_power_to_db(v4 power, float floor_db) {
    const v4 db = v4_log2(v4_max(power, v4_set1(1e-37f))) * (float)(EH_DB_PER_LOG2 / 2);
    return v4_max(db, v4_set1(floor_db));
}
