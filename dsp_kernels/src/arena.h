// Lays the parts of a kernel out in the caller's memory: once without memory to learn the size, once with.
#pragma once

#include <stddef.h>

typedef struct {
    unsigned char *base;  // NULL while only measuring
    size_t used_bytes;
} eh_arena;

// Room for n_bytes, aligned to 64 bytes; NULL while measuring.
static inline void *eh_arena_take(eh_arena *a, size_t n_bytes) {
    void *p = a->base ? a->base + a->used_bytes : NULL;
    a->used_bytes += (n_bytes + 63) & ~(size_t)63;
    return p;
}
