// A second card that keeps its own time: its thread opens it, serves it and brings it back; a link in each direction
// carries its sound to the audio thread, or back. While it is away its lanes are silent, and nothing else is heard of
// it.
#pragma once

#include <stdatomic.h>

#include "card.h"
#include "secondary.h"
#include "segment_layout.h"

typedef struct eh_secondary_card eh_secondary_card;

// NULL with why (EH_WHY_BYTES) for what cannot be. Opens nothing yet.
eh_secondary_card *eh_secondary_card_make(const eh_live_config *config, eh_segment *segment, char *why);
void eh_secondary_card_free(eh_secondary_card *c);  // its thread has ended; NULL is none

void *eh_secondary_card_main(void *secondary_card);  // its thread
void eh_secondary_card_end(eh_secondary_card *c);    // the thread plays what is still on its way, and ends

// Audio thread, once a period; edge_ns: when the mixer's card had the period complete.
void eh_secondary_card_take(eh_secondary_card *c, float *in,
                            int64_t edge_ns) EH_RT;  // into its lanes of a mixer's frame
void eh_secondary_card_give(eh_secondary_card *c, const float *out, int64_t edge_ns) EH_RT;  // (.., EH_N_OUTPUTS)
void eh_secondary_card_lost_frames(eh_secondary_card *c) EH_RT;           // the mixer's card ran on without us
void eh_secondary_card_tell(eh_secondary_card *c, uint64_t frame) EH_RT;  // what happened since the last call
