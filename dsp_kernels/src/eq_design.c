// From what an engineer sets to the coefficients of a section, and the gain that these make.
#include "eq_design.h"

#include "units.h"

const eh_section_solution EH_SECTION_IDLE = {0.0, 1.0, 1.0, 0.0, 0.0};

static double clamp(double x, double low, double high) { return x > low ? (x < high ? x : high) : low; }

int eh_section_is_flat(const eh_section_design *d) {
    if (d->type < EH_SECTION_BELL || d->type > EH_SECTION_TILT) return 1;
    return d->type != EH_SECTION_HIGH_PASS && !(d->gain_db < 0.0f || d->gain_db > 0.0f);
}

// Simper's designs, written over v0, v1 and hp; the same as those of the Audio EQ Cookbook (Bristow-Johnson).
eh_section_solution eh_section_solve(const eh_section_design *d, double sample_rate_hz) {
    const double tangent = eh_tan(EH_PI * clamp(d->freq_hz / sample_rate_hz, 1.0 / sample_rate_hz, 0.49));
    const double gain_db = clamp(d->gain_db, -60.0, 60.0);
    const double k = 1.0 / clamp(d->q, 0.05, 200.0);
    const double a = eh_db_to_lin(gain_db / 2), root_a = eh_db_to_lin(gain_db / 4);
    switch (d->type) {
        case EH_SECTION_BELL:
            return (eh_section_solution){tangent, k / a, 1.0, k * (a - 1.0 / a), 0.0};
        case EH_SECTION_LOW_SHELF:
            return (eh_section_solution){tangent / root_a, k, a * a, k * a * (1.0 - a), 1.0 - a * a};
        case EH_SECTION_HIGH_SHELF:
            return (eh_section_solution){tangent * root_a, k, 1.0, k * (a - 1.0), a * a - 1.0};
        case EH_SECTION_HIGH_PASS:
            return (eh_section_solution){tangent, k, 0.0, 0.0, 1.0};
        case EH_SECTION_TILT: {
            // A high shelf of twice the gain with Q = 1/2, lowered by the gain.
            const double b = eh_db_to_lin(gain_db);
            return (eh_section_solution){tangent * a, 2.0, 1.0 / b, 2.0 * (1.0 - 1.0 / b), b - 1.0 / b};
        }
        default:
            return EH_SECTION_IDLE;
    }
}

// The bilinear transform puts s = j tan(pi f/fs) / g into the analogue prototype:
//     hp = s^2 / D,  v1 = s / D,  D = s^2 + k s + 1
void eh_section_response_db(const eh_section_design *design, float sample_rate_hz, const float *freq_hz, float *gain_db,
                            size_t n) {
    const eh_section_solution s =
        eh_section_is_flat(design) ? EH_SECTION_IDLE : eh_section_solve(design, sample_rate_hz);
    for (size_t i = 0; i < n; i++) {
        if (s.g == 0.0) {
            gain_db[i] = 0.0f;
            continue;
        }
        const double w = eh_tan(EH_PI * clamp(freq_hz[i] / (double)sample_rate_hz, 0.0, 0.4999999)) / s.g, w2 = w * w;
        const double real = s.n0 * (1.0 - w2) - s.n2 * w2, imaginary = (s.n0 * s.k + s.n1) * w;
        const double below = (1.0 - w2) * (1.0 - w2) + s.k * s.k * w2;
        gain_db[i] = (float)eh_power_to_db((real * real + imaginary * imaginary) / below);
    }
}
