// Parameter snapshots on their way down: three buffers, the newest wins, neither side ever waits.
// One writer (control), one reader (audio), in one process or two. A half-written snapshot cannot be read.
#pragma once

#include "triple.h"

typedef struct {
    eh_triple triple;
    eh_params slot[3];
} eh_mailbox;

void eh_mailbox_init(eh_mailbox *m);
void eh_mailbox_write(eh_mailbox *m, const eh_params *p);
// Newest snapshot, or NULL when nothing new came since the last call. Valid until the next call.
const eh_params *eh_mailbox_read(eh_mailbox *m) EH_RT;
