// Put before the live engine by LD_PRELOAD: its clock shows what a test has written into a file.
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const _Atomic uint64_t *now_ns;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("EVENHAND_SIMULATED_CLOCK");
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *memory = mmap(NULL, sizeof *now_ns, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED) now_ns = memory;
}

uint64_t eh_clock_ns(void);
uint64_t eh_clock_ns(void) {
    if (!now_ns) abort();
    return atomic_load_explicit(now_ns, memory_order_acquire);
}
