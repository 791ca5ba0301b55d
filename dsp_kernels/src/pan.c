// Pan laws: how a channel divides between left and right.
#include "evenhand/gain.h"
#include "units.h"

// Sine law: left^2 + right^2 = 1 everywhere.
void eh_pan_mono(float position, float *gain_lin) {
    double sine, cosine;
    eh_sincos((position + 1.0) * (EH_PI / 4), &sine, &cosine);
    gain_lin[0] = (float)cosine;
    gain_lin[1] = (float)sine;
}

// Balance after width: the side turned away from is lowered by the sine law, the other keeps unity.
void eh_pan_stereo(float position, float width, float (*gain_lin)[2]) {
    const double direct = 0.5 * (1.0 + width), across = 0.5 * (1.0 - width);
    double sine, cosine;
    eh_sincos((position + 1.0) * (EH_PI / 4), &sine, &cosine);
    const double left = 1.41421356237309504880 * cosine, right = 1.41421356237309504880 * sine;
    const double left_lin = left < 1.0 ? left : 1.0, right_lin = right < 1.0 ? right : 1.0;
    gain_lin[0][0] = (float)(direct * left_lin);
    gain_lin[0][1] = (float)(across * right_lin);
    gain_lin[1][0] = (float)(across * left_lin);
    gain_lin[1][1] = (float)(direct * right_lin);
}
