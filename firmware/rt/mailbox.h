// Parameter snapshots on their way down: three buffers, the newest wins, neither side ever waits.
// One writer thread (control), one reader thread (audio). A torn or half-written snapshot cannot be read.
#pragma once

#include <stdatomic.h>

#include "evenhand/types.h"

typedef struct {
    eh_params slot[3];
    atomic_uint shared;   // index of the middle slot, plus MAILBOX_FRESH when the writer put a new one there
    unsigned write_slot;  // the writer's own
    unsigned read_slot;   // the reader's own
} eh_mailbox;

void eh_mailbox_init(eh_mailbox *m);
void eh_mailbox_write(eh_mailbox *m, const eh_params *p);
// Newest snapshot, or NULL when nothing new came since the last call. Valid until the next call.
const eh_params *eh_mailbox_read(eh_mailbox *m) EH_RT;
