// What every bank's init checks.
#pragma once

#include "evenhand/types.h"

static inline eh_status eh_bank_check(float sample_rate_hz, int n_lanes) {
    if (!(sample_rate_hz >= 8000.0f && sample_rate_hz <= 192000.0f)) return EH_ERR_SAMPLE_RATE;
    if (n_lanes <= 0 || n_lanes > EH_MAX_LANES || n_lanes % EH_LANES_PER_VECTOR != 0) return EH_ERR_LANES;
    return EH_OK;
}
