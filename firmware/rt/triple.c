// Who owns which of three slots.
#include "triple.h"

enum { MIDDLE_BIT = 2, READER_BIT = 4, SLOT_MASK = 3, LAST_SLOT = 2, FRESH = 1 << 6 };

// Release: who takes the slot sees all of it. Acquire: who gets a slot back may overwrite it.
#ifdef TORN_MAILBOX  // only for the test that shows the thread sanitizer sees a wrong order
#define TRADE_ORDER memory_order_relaxed
#else
#define TRADE_ORDER memory_order_acq_rel
#endif

// The word may lie in memory that another process writes: a slot that does not exist counts as the last one.
static unsigned slot_at(unsigned owners, int bit) {
    const unsigned slot = owners >> bit & SLOT_MASK;
    return slot <= LAST_SLOT ? slot : LAST_SLOT;
}

static unsigned packed(unsigned writer, unsigned middle, unsigned reader) {
    return writer | middle << MIDDLE_BIT | reader << READER_BIT;
}

void eh_triple_init(eh_triple *t) { atomic_init(&t->owners, packed(0, 1, 2)); }

unsigned eh_triple_write_slot(const eh_triple *t) {
    return slot_at(atomic_load_explicit(&t->owners, memory_order_relaxed), 0);
}

void eh_triple_publish(eh_triple *t) {
    unsigned before = atomic_load_explicit(&t->owners, memory_order_relaxed), after;
    do {
        after = packed(slot_at(before, MIDDLE_BIT), slot_at(before, 0), slot_at(before, READER_BIT)) | FRESH;
    } while (!atomic_compare_exchange_weak_explicit(&t->owners, &before, after, TRADE_ORDER, memory_order_relaxed));
}

// One try: when it fails, the writer has just published again or the machine broke the exchange off; the next block
// takes what is there then.
int eh_triple_take(eh_triple *t) {
    unsigned before = atomic_load_explicit(&t->owners, memory_order_relaxed);
    if (!(before & FRESH)) return -1;
    const unsigned after = packed(slot_at(before, 0), slot_at(before, READER_BIT), slot_at(before, MIDDLE_BIT));
    if (!atomic_compare_exchange_strong_explicit(&t->owners, &before, after, TRADE_ORDER, memory_order_relaxed))
        return -1;
    return (int)slot_at(after, READER_BIT);
}

void eh_triple_offer_again(eh_triple *t) {
    unsigned before = atomic_load_explicit(&t->owners, memory_order_relaxed);
    if (before & FRESH) return;
    const unsigned after = packed(slot_at(before, 0), slot_at(before, READER_BIT), slot_at(before, MIDDLE_BIT)) | FRESH;
    atomic_compare_exchange_strong_explicit(&t->owners, &before, after, TRADE_ORDER, memory_order_relaxed);
}

unsigned eh_triple_newest_slot(const eh_triple *t) {
    const unsigned owners = atomic_load_explicit(&t->owners, memory_order_acquire);
    return slot_at(owners, owners & FRESH ? MIDDLE_BIT : READER_BIT);
}
