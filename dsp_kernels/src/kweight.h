// K-weighting of ITU-R BS.1770-4: a shelf that stands for the head, then a second-order high-pass (RLB).
#pragma once

// Denominators in the bilinear variable: g = tan(pi f / rate), k = 1/Q. Numerator of the shelf: vh s^2 + vb k s + 1.
typedef struct {
    double shelf_g, shelf_k, shelf_vh, shelf_vb, rlb_g, rlb_k;
    double shelf_b[3], shelf_a[2];  // y = b0 x + b1 x1 + b2 x2 - a0 y1 - a1 y2
    double rlb_a[2];                // numerator 1 -2 1, not normalised: that is part of the published filter
} eh_kweight_design;

void eh_kweight_design_at(eh_kweight_design *d, double rate_hz);
