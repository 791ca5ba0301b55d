// Preloaded into the recorder: while the file that EH_HANGS_WHILE names is there, no write to a .wav returns, as on a
// disk that hangs.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void hang(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path);
    if (n < 4 || memcmp(path + n - 4, ".wav", 4) != 0) return;
    while (access(getenv("EH_HANGS_WHILE"), F_OK) == 0) usleep(5000);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    hang(fd);
    return real(fd, data, n, offset);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset) { return pwrite64(fd, data, n, offset); }

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    hang(fd);
    return real(fd);
}
