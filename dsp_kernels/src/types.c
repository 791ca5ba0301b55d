// Flush-to-zero of the calling thread.
#include "evenhand/types.h"

#if defined(__x86_64__)
#include <immintrin.h>

unsigned eh_denormals_flush(void) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040u);  // FTZ and DAZ
    return before;
}

void eh_denormals_restore(unsigned control) { _mm_setcsr(control); }

#elif defined(__aarch64__)

unsigned eh_denormals_flush(void) {
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" ::"r"(before | (1u << 24)));
    return (unsigned)before;
}

void eh_denormals_restore(unsigned control) { __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)control)); }

#else
#error "the box is x86-64 or aarch64"
#endif
