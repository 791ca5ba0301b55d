// Where a card is at a time: a line through the moments at which its frames were seen, which are always a little late
// and sometimes very. One thread's own; the line may be copied to another.
#pragma once

#include "evenhand/types.h"

typedef struct {  // at ns, frames had passed
    double frames, ns, ns_per_frame;
    double age_s;  // of what it has seen since it began anew
} eh_clock_line;

typedef struct {
    double rate_hz;    // nominal
    double doubted_s;  // stamps in a row that were too late to believe
    eh_clock_line line;
} eh_card_clock;

void eh_card_clock_init(eh_card_clock *c, double rate_hz);
void eh_card_clock_restart(eh_card_clock *c) EH_RT;  // frames were lost: the next stamp begins a new line
// frames passed in all, at now_ns of a clock that never steps.
void eh_card_clock_stamp(eh_card_clock *c, double frames, double now_ns) EH_RT;
int eh_clock_line_is_ready(const eh_clock_line *l) EH_RT;  // seen for 0.1 s
double eh_clock_line_frames_at(const eh_clock_line *l, double ns) EH_RT;
double eh_clock_line_ns_of(const eh_clock_line *l, double frames) EH_RT;
