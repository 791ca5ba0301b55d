// Three slots traded between one writer and one reader: the newest wins, neither waits, and neither can leave the
// other stranded. Who owns which slot is one word, changed by compare-and-swap: a process that is killed anywhere in
// between leaves either the old state or the new one, so that its successor simply goes on.
#pragma once

#include <stdatomic.h>

#include "evenhand/types.h"

typedef struct {
    atomic_uint owners;  // bits 0-1 the writer's slot, 2-3 the middle one, 4-5 the reader's, bit 6: the middle is fresh
} eh_triple;

void eh_triple_init(eh_triple *t);
// Writer: the slot to fill; then, filled, trade it for the middle one.
unsigned eh_triple_write_slot(const eh_triple *t);
void eh_triple_publish(eh_triple *t);
// Reader: the newest slot, or -1 when nothing new came since the last call. Valid until the next call.
int eh_triple_take(eh_triple *t) EH_RT;
// Reader: what was taken last counts as new again, unless something newer is there already.
void eh_triple_offer_again(eh_triple *t);
// Anybody: the slot that was published last.
unsigned eh_triple_newest_slot(const eh_triple *t);
