// Coefficients of one state-variable section:  out = n0 v0 + n1 v1 + n2 hp;  see eq.c for v1 and hp.
#pragma once

#include "evenhand/eq.h"

typedef struct {
    double g, k, n0, n1, n2;  // g = tan(pi f/fs), k = 1/Q
} eh_section_solution;

extern const eh_section_solution EH_SECTION_IDLE;  // passes its input; g = 0: its states stay where they are

int eh_section_is_flat(const eh_section_design *design);
eh_section_solution eh_section_solve(const eh_section_design *design, double sample_rate_hz);
