// A card, both directions or one: opened, started together, lanes patched as the board says.
#pragma once

#include "live.h"
#include "pcm.h"

typedef struct {
    eh_card_config config;
    eh_pcm capture, playback;
    int is_open, is_linked;
    _Alignas(64) float captured[EH_MAX_PERIOD_FRAMES * EH_MAX_CARD_CHANNELS];
    _Alignas(64) float played[EH_MAX_PERIOD_FRAMES * EH_MAX_CARD_CHANNELS];
} eh_card;

int eh_card_check(const eh_card_config *config, char *why);  // 0, or -EINVAL with why
int eh_card_open(eh_card *card, char *why);                  // control side; 0 or a negative errno with why
void eh_card_close(eh_card *card);
// Fills playback with n_periods of silence and starts all directions, from whatever state they are in: the way from
// input to output has the same length after every start. A card that only plays is filled to the brim.
int eh_card_start(eh_card *card);
int eh_card_restart(eh_card *card, int error);  // after error, which may say that the card was suspended
// A card that only plays: waits until it has played a period.
int eh_card_await(eh_card *card, int *late_frames);
int eh_card_read(eh_card *card, float *in, int *late_frames);  // in (period_frames, n_capture_lanes)
int eh_card_write(eh_card *card, const float *out);            // out (period_frames, EH_N_OUTPUTS)
