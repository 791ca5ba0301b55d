// Makes and removes a virtual card: the shared file and the two FIFOs beside it.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "world_state.h"

enum { FILE_MODE = 0600 };

static void remove_files(const char *path) {
    char name[EH_CARD_MAX_PATH];
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++)
        if (!eh_card_wake_path(name, path, d)) unlink(name);
    unlink(path);
}

// Whether what lies at path is a card whose world is dead.
static int is_left_over(const char *path) {
    uint64_t magic = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return 0;
    const int is =
        flock(fd, LOCK_EX | LOCK_NB) == 0 && read(fd, &magic, sizeof magic) == sizeof magic && magic == EH_CARD_MAGIC;
    close(fd);
    return is;
}

static int open_new_file(const char *path) {
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    const int fd = open(path, flags, FILE_MODE);
    if (fd >= 0 || errno != EEXIST) return fd;
    if (!is_left_over(path)) {
        errno = EEXIST;
        return -1;
    }
    remove_files(path);
    return open(path, flags, FILE_MODE);
}

static int make_fifos(eh_card *c, const char *path) {
    char name[EH_CARD_MAX_PATH];
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) {
        if (eh_card_wake_path(name, path, d)) return -1;
        unlink(name);
        if (mkfifo(name, FILE_MODE)) return -1;
        c->wake_fd[d] = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
        if (c->wake_fd[d] < 0) return -1;
    }
    return 0;
}

static void fill(eh_world *w, const eh_world_settings *s) {
    eh_card_header *h = w->card.shared;
    h->version = EH_CARD_VERSION;
    h->header_bytes = sizeof *h;
    h->file_bytes = w->card.file_bytes;
    h->ring_frames = s->ring_frames;
    h->is_manual = w->card.is_manual;
    h->has_cable = w->card.has_cable;
    h->has_tape = w->has_tape;
    h->has_recorder = w->has_recorder;
    memcpy(h->cable, w->card.cable, sizeof h->cable);
    atomic_store(&h->formats, s->formats);
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) {
        h->n_channels[d] = w->card.n_channels[d];
        atomic_store(&h->n_offered_channels[d], w->card.n_channels[d]);
        atomic_store(&h->direction[d].start_frame, EH_CARD_NOT_STARTED);
        atomic_store(&h->direction[d].wait_frame, -1);
    }
    atomic_store(&h->plugs[0].is_plugged, 1);
    atomic_store(&h->plugs[0].sample_rate_hz, s->sample_rate_hz);
    atomic_store(&h->n_plugs, 1);
    w->limit_frame = eh_world_limit_frame(w);
    eh_world_publish_clock(w);
    if (s->begins_at_once) eh_card_begin(&w->card);
    atomic_thread_fence(memory_order_seq_cst);
    h->magic = EH_CARD_MAGIC;  // now it is one
}

eh_world *eh_world_create(const char *path, const eh_world_settings *s, char *reason, size_t reason_bytes) {
    eh_world *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    eh_card *c = &w->card;
    c->wake_fd[0] = c->wake_fd[1] = -1;
    c->n_channels[EH_CARD_CAPTURE] = s->n_capture;
    c->n_channels[EH_CARD_PLAYBACK] = s->n_playback;
    c->ring_frames = s->ring_frames;
    c->is_manual = s->is_manual;
    c->has_cable = s->has_cable;
    memcpy(c->cable, s->cable, sizeof c->cable);
    c->file_bytes = eh_card_file_bytes(c->n_channels, c->ring_frames);
    w->has_tape = s->has_tape && s->n_capture > 0 && !s->has_cable;
    w->has_recorder = s->has_recorder && s->n_playback > 0;
    w->sample_rate_hz = s->sample_rate_hz;
    w->ppm = s->ppm;
    w->rate_uhz = eh_world_rate_uhz(s->sample_rate_hz, s->ppm);
    pthread_mutex_init(&w->mutex, NULL);
    snprintf(w->path, sizeof w->path, "%s", path);
    void *mapping = MAP_FAILED;
    w->fd = strlen(path) < EH_CARD_MAX_PATH ? open_new_file(path) : (errno = ENAMETOOLONG, -1);
    if (w->fd >= 0 && flock(w->fd, LOCK_EX | LOCK_NB) == 0 && ftruncate(w->fd, (off_t)c->file_bytes) == 0 &&
        make_fifos(c, path) == 0)
        mapping = mmap(NULL, c->file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    if (mapping != MAP_FAILED) {
        eh_card_lay_out(c, mapping);
        fill(w, s);
        return w;
    }
    snprintf(reason, reason_bytes, "%s", strerror(errno));
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++)
        if (c->wake_fd[d] >= 0) close(c->wake_fd[d]);
    if (w->fd >= 0) {
        remove_files(path);
        close(w->fd);
    }
    free(w);
    return NULL;
}

void eh_world_close(eh_world *w) {
    atomic_store(&w->card.shared->is_over, 1);
    for (int d = 0; d < EH_CARD_DIRECTIONS; d++) eh_card_wake(&w->card, d);
    remove_files(w->path);
    eh_card_unmap(&w->card);
    close(w->fd);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}
