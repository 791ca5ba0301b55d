// What a frontend with threads of its own needs beyond engine.h: parameters out of shared memory, and an analysis that
// stops exactly where the audio thread took its readings.
#pragma once

#include "engine.h"
#include "mailbox.h"

// Snapshots come from there from now on. Before the first block.
void eh_engine_use_mailbox(eh_engine *e, eh_mailbox *mailbox);
// Audio thread: frames handed to analysis since reset.
size_t eh_engine_tap_position(const eh_engine *e) EH_RT;
// Analysis thread: works off the taps up to a position; returns the hops completed.
int eh_engine_analyse_to(eh_engine *e, size_t tap_position);
