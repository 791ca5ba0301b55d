// Drift loop.  fill' = rate (drift - answer),  answer = 2 w / rate e + w^2 / rate integral(e):  critically damped with
// natural frequency w, for e the error through a one-pole of 1 / (8 w), which costs 15 degrees of phase where the
// loop's gain is one. A late wake-up moves one measurement by up to a period and says nothing: no measurement moves e
// by more than if it had been 8 frames off.
#include "evenhand/drift.h"

#include "bank.h"
#include "units.h"

// Wide finds 200 ppm to 0.2 ppm within 6 s; narrow turns 3 frames RMS of jitter at 375 Hz into 1 ppm. The way from one
// to the other takes 3.5 s: the jitter that the integral of the wide loop holds would take the narrow one 20 s.
static const double WIDE_HZ = 0.25, NARROW_HZ = 0.02, WIDE_S = 6.0, NARROWING_S = 1.4, LOCK_S = 2.0;
static const double LIMIT = 1000e-6;  // crystals keep 100 ppm; this is still under 2 cents
static const double POLE = 8.0;       // of the smoothing, in natural frequencies
static const double SURPRISE_FRAMES = 8.0, NEAR_FRAMES = 8.0, FAR_FRAMES = 24.0;

static double clamped(double x, double limit) { return x > -limit ? (x < limit ? x : limit) : -limit; }

eh_status eh_drift_init(eh_drift *d, float sample_rate_hz) {
    const eh_status status = eh_bank_check(sample_rate_hz, EH_LANES_PER_VECTOR);
    if (status != EH_OK) return status;
    d->sample_rate_hz = sample_rate_hz;
    eh_drift_reset(d);
    return EH_OK;
}

void eh_drift_reset(eh_drift *d) { *d = (eh_drift){.sample_rate_hz = d->sample_rate_hz, .natural_hz = WIDE_HZ}; }

void eh_drift_recentre(eh_drift *d) {
    d->smooth_frames = d->acquired_s = d->calm_s = 0.0;
    d->natural_hz = WIDE_HZ;
}

// The answer stays where it is: what the proportional part loses, the integral takes over.
static void narrow(eh_drift *d, double dt_s) {
    const double next_hz = d->natural_hz * (1.0 - dt_s / NARROWING_S), before_hz = d->natural_hz;
    d->natural_hz = next_hz > NARROW_HZ ? next_hz : NARROW_HZ;
    const double lost = 4.0 * EH_PI * (before_hz - d->natural_hz) / d->sample_rate_hz;
    d->learned = clamped(d->learned + lost * d->smooth_frames, LIMIT);
}

double eh_drift_process(eh_drift *d, double error_frames, size_t n_frames) {
    const double rate_hz = d->sample_rate_hz, dt_s = (double)n_frames / rate_hz, w = 2.0 * EH_PI * d->natural_hz;
    const double surprise = clamped(error_frames - d->smooth_frames, SURPRISE_FRAMES), pace = POLE * w * dt_s;
    const double e = d->smooth_frames + surprise * pace / (1.0 + pace);
    const double magnitude = e < 0.0 ? -e : e, wanted = d->learned + 2.0 * w / rate_hz * e;
    d->smooth_frames = e;
    d->answer = clamped(wanted, LIMIT);
    if (d->answer == wanted || wanted * e < 0.0)  // at its limit the integral would only wind up
        d->learned = clamped(d->learned + w * w / rate_hz * e * dt_s, LIMIT);
    d->acquired_s += dt_s;
    d->calm_s = magnitude < NEAR_FRAMES ? d->calm_s + dt_s : 0.0;
    if (magnitude > FAR_FRAMES) {
        d->natural_hz = WIDE_HZ;
        d->acquired_s = 0.0;
    } else if (d->natural_hz > NARROW_HZ && d->acquired_s >= WIDE_S) {
        narrow(d, dt_s);
    }
    return d->answer;
}

int eh_drift_is_locked(const eh_drift *d) { return d->natural_hz == NARROW_HZ && d->calm_s >= LOCK_S; }
