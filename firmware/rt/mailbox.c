// Triple buffer: writer and reader own one slot each and trade it for the middle one by a single exchange.
#include "mailbox.h"

#include <string.h>

enum { INDEX_MASK = 3, FRESH = 4 };

// Release: who takes the slot sees all of it. Acquire: who gets a slot back may overwrite it.
#ifdef TORN_MAILBOX  // only for the test that shows the thread sanitizer sees a wrong order
#define TRADE_ORDER memory_order_relaxed
#else
#define TRADE_ORDER memory_order_acq_rel
#endif

void eh_mailbox_init(eh_mailbox *m) {
    memset(m->slot, 0, sizeof m->slot);
    m->write_slot = 0;
    m->read_slot = 1;
    atomic_init(&m->shared, 2);
}

void eh_mailbox_write(eh_mailbox *m, const eh_params *p) {
    m->slot[m->write_slot] = *p;
    m->write_slot = atomic_exchange_explicit(&m->shared, m->write_slot | FRESH, TRADE_ORDER) & INDEX_MASK;
}

const eh_params *eh_mailbox_read(eh_mailbox *m) {
    if (!(atomic_load_explicit(&m->shared, memory_order_relaxed) & FRESH)) return NULL;
    m->read_slot = atomic_exchange_explicit(&m->shared, m->read_slot, TRADE_ORDER) & INDEX_MASK;
    return &m->slot[m->read_slot];
}
