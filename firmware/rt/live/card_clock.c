// A line that is pulled towards each stamp: like a least-squares fit of all of them while they are few (position by 4/n
// of what it is off, slope by 4/n^2), and a critically damped loop of 0.05 Hz when they are many. The slope is known to
// some hundred ppm beforehand: it listens later.
// F. Adriaensen, "Using a DLL to filter time", 2005, has the loop. A stamp that is late says nothing; one that is early
// says that the line was late.
#include "card_clock.h"

static const double NARROWEST_RAD_S = 0.314, READY_S = 0.1, POSITION_S = 0.02, SLOPE_S = 0.1;
static const double LATE_NS = 1e6;     // ten times a good kernel's p99
static const double DOUBTED_S = 0.25;  // longer than any stall that loses no frames: then they were lost

void eh_card_clock_init(eh_card_clock *c, double rate_hz) {
    *c = (eh_card_clock){.rate_hz = rate_hz, .line = {.ns_per_frame = 1e9 / rate_hz}};
}

void eh_card_clock_restart(eh_card_clock *c) {
    c->line.age_s = c->doubted_s = 0.0;
    c->line.ns = 0.0;
}

static double pace(double age_s, double dt_s) {
    const double fit_rad_s = 2.0 / age_s;
    return dt_s * (fit_rad_s > NARROWEST_RAD_S ? fit_rad_s : NARROWEST_RAD_S);
}

static void pull(eh_card_clock *c, double late_ns, double dt_s) {
    eh_clock_line *l = &c->line;
    l->age_s += dt_s;
    const double x = pace(l->age_s + POSITION_S, dt_s), y = pace(l->age_s + SLOPE_S, dt_s);
    l->ns += 2.0 * x / (1.0 + 2.0 * x) * late_ns;
    l->ns_per_frame += y * y / (1.0 + 2.0 * x) * late_ns / (dt_s * c->rate_hz);
}

void eh_card_clock_stamp(eh_card_clock *c, double frames, double now_ns) {
    eh_clock_line *l = &c->line;
    const double n_frames = frames - l->frames, dt_s = n_frames / c->rate_hz;
    l->frames = frames;
    if (l->ns == 0.0) {
        l->ns = now_ns;
        return;
    }
    if (n_frames <= 0.0) return;
    l->ns += n_frames * l->ns_per_frame;
    const double late_ns = now_ns - l->ns;
    if (late_ns > LATE_NS && eh_clock_line_is_ready(l)) {
        c->doubted_s += dt_s;
        if (c->doubted_s < DOUBTED_S) return;
    }
    if (late_ns > LATE_NS || late_ns < -LATE_NS) {
        eh_card_clock_restart(c);
        l->ns = now_ns;
        return;
    }
    c->doubted_s = 0.0;
    pull(c, late_ns, dt_s);
}

int eh_clock_line_is_ready(const eh_clock_line *l) { return l->age_s >= READY_S; }

double eh_clock_line_frames_at(const eh_clock_line *l, double ns) { return l->frames + (ns - l->ns) / l->ns_per_frame; }

double eh_clock_line_ns_of(const eh_clock_line *l, double frames) {
    return l->ns + (frames - l->frames) * l->ns_per_frame;
}
