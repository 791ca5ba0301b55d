// The segment's file: made, checked, taken over, held.
#define _GNU_SOURCE  // OFD locks
#include "segment_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char MAGIC[8] = "EVENHND";

enum { MAX_FOLDER_TRIES = 200 };  // of 10 ms each; an engine that makes a segment is done in one

// ----------------------------------------------------------------------------------------------- the file, held

__attribute__((format(printf, 3, 4))) static eh_hold_status refuse(eh_segment_hold *hold, eh_hold_status status,
                                                                   const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(hold->why, sizeof hold->why, format, arguments);
    va_end(arguments);
    if (hold->segment) munmap(hold->segment, sizeof(eh_segment));
    if (hold->fd >= 0) close(hold->fd);
    hold->segment = NULL;
    hold->fd = -1;
    return status;
}

// One byte of the file a side, locked as long as the process lives: the kernel lets go when it dies.
static int lock_side(eh_segment_hold *hold) {
    if (hold->side == EH_SIDE_VIEWER) return 1;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = hold->side, .l_len = 1};
    return fcntl(hold->fd, F_OFD_SETLK, &lock) == 0;
}

static eh_hold_status map_file(eh_segment_hold *hold, const char *path) {
    struct stat file;
    if (fstat(hold->fd, &file) != 0) return refuse(hold, EH_HOLD_FAILED, "%s: %s", path, strerror(errno));
    if (!S_ISREG(file.st_mode)) return refuse(hold, EH_HOLD_FAILED, "%s: is no plain file", path);
    const int is_viewer = hold->side == EH_SIDE_VIEWER;
    if (!is_viewer && file.st_uid != geteuid() && geteuid() != 0)
        return refuse(hold, EH_HOLD_FAILED, "%s: belongs to another user", path);
    if (file.st_size != (off_t)sizeof(eh_segment))
        return refuse(hold, EH_HOLD_FOREIGN, "%s: has %lld bytes, this build's segment has %zu", path,
                      (long long)file.st_size, sizeof(eh_segment));
    const int access = is_viewer ? PROT_READ : PROT_READ | PROT_WRITE;
    void *memory = mmap(NULL, sizeof(eh_segment), access, MAP_SHARED, hold->fd, 0);
    if (memory == MAP_FAILED) return refuse(hold, EH_HOLD_FAILED, "%s: %s", path, strerror(errno));
    hold->segment = memory;
    return EH_HOLD_OK;
}

static eh_hold_status check_header(eh_segment_hold *hold, const char *path) {
    const eh_segment *s = hold->segment;
    if (memcmp(s->magic, MAGIC, sizeof MAGIC) != 0 || s->size_bytes != sizeof(eh_segment))
        return refuse(hold, EH_HOLD_FOREIGN, "%s: is no segment of Evenhand", path);
    if (s->version != EH_SEGMENT_VERSION)
        return refuse(hold, EH_HOLD_FOREIGN, "%s: has layout version %u, this build has %d", path, s->version,
                      EH_SEGMENT_VERSION);
    if (strncmp(s->contract_id, eh_contract_id(), EH_CONTRACT_ID_BYTES) != 0)
        return refuse(hold, EH_HOLD_FOREIGN, "%s: was made under contract %.31s, this build has %s", path,
                      s->contract_id, eh_contract_id());
    hold->mixer = s->config;  // once: what the file says later is not asked
    if (eh_engine_size_bytes(&hold->mixer) == 0)
        return refuse(hold, EH_HOLD_FOREIGN, "%s: holds a mixer that cannot be", path);
    return EH_HOLD_OK;
}

static int is_same_config(const eh_engine_config *a, const eh_engine_config *b) {
    if (a->sample_rate_hz != b->sample_rate_hz || a->n_channels != b->n_channels) return 0;
    if (a->n_capture_lanes != b->n_capture_lanes) return 0;
    for (int ch = 0; ch < a->n_channels; ch++)
        if (!a->is_stereo[ch] != !b->is_stereo[ch]) return 0;
    return 1;
}

static void lay_out(eh_segment *s, const eh_engine_config *config) {
    memset(s, 0, sizeof *s);
    s->version = EH_SEGMENT_VERSION;
    s->size_bytes = sizeof *s;
    strncpy(s->contract_id, eh_contract_id(), EH_CONTRACT_ID_BYTES - 1);
    s->config = *config;
    eh_mailbox_init(&s->params);
    eh_triple_init(&s->mix_gain_owner);
    memcpy(s->magic, MAGIC, sizeof MAGIC);
}

// A new file beside the place, renamed over it when it is whole: nobody ever opens half a segment.
static eh_hold_status create(eh_segment_hold *hold, const char *path, const eh_engine_config *config) {
    char part[4096];
    if (snprintf(part, sizeof part, "%s.new", path) >= (int)sizeof part)
        return refuse(hold, EH_HOLD_FAILED, "%s: the name is too long", path);
    unlink(part);
    hold->fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (hold->fd < 0) return refuse(hold, EH_HOLD_FAILED, "%s: %s", part, strerror(errno));
    const int failed = posix_fallocate(hold->fd, 0, (off_t)sizeof(eh_segment));  // a full /dev/shm is told here
    if (failed != 0) {
        unlink(part);
        return refuse(hold, EH_HOLD_FAILED, "%s: %s", part, strerror(failed));
    }
    const eh_hold_status mapped = map_file(hold, part);
    if (mapped != EH_HOLD_OK) {
        unlink(part);
        return mapped;
    }
    lay_out(hold->segment, config);
    hold->mixer = *config;
    if (!lock_side(hold) || rename(part, path) != 0) {
        const int error = errno;
        unlink(part);
        return refuse(hold, EH_HOLD_FAILED, "%s: %s", path, strerror(error));
    }
    return EH_HOLD_OK;
}

static eh_hold_status open_existing(eh_segment_hold *hold, const char *path) {
    hold->fd = open(path, (hold->side == EH_SIDE_VIEWER ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
    if (hold->fd < 0)
        return refuse(hold, errno == ENOENT ? EH_HOLD_ABSENT : EH_HOLD_FAILED, "%s: %s", path, strerror(errno));
    const int is_ours = lock_side(hold);  // first of all: a file of another build may have a live engine too
    eh_hold_status status = map_file(hold, path);
    if (status == EH_HOLD_OK) status = check_header(hold, path);
    if (status == EH_HOLD_FOREIGN && hold->side == EH_SIDE_ENGINE && !is_ours) {
        snprintf(hold->why, sizeof hold->why, "%s: is in use by an engine of another build; stop that one first", path);
        return EH_HOLD_TAKEN;
    }
    if (status != EH_HOLD_OK || is_ours) return status;
    const int pid =
        atomic_load(hold->side == EH_SIDE_ENGINE ? &hold->segment->engine_pid : &hold->segment->control_pid);
    return refuse(hold, EH_HOLD_TAKEN, "%s: is in use by process %d; stop that one first", path, pid);
}

// Two engines that start at once would each put aside what the other has just made: one after the other. Returns the
// folder's descriptor or -1.
static int lock_folder(const char *path) {
    char folder[4096];
    if (snprintf(folder, sizeof folder, "%s", path) >= (int)sizeof folder) return -1;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    const int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        const struct timespec pause = {.tv_nsec = 10000000L};
        if (errno != EWOULDBLOCK || i == MAX_FOLDER_TRIES || nanosleep(&pause, NULL) != 0) {
            close(fd);
            return -1;
        }
    }
    return fd;
}

static eh_hold_status open_or_make(eh_segment_hold *hold, const char *path, const eh_engine_config *config) {
    eh_hold_status status = open_existing(hold, path);
    if (status == EH_HOLD_TAKEN || status == EH_HOLD_FAILED) return status;
    hold->is_resumed = status == EH_HOLD_OK && is_same_config(&hold->mixer, config);
    if (hold->is_resumed) return EH_HOLD_OK;
    hold->is_replaced = status != EH_HOLD_ABSENT;
    char why[sizeof hold->why];
    snprintf(why, sizeof why, "%s", status == EH_HOLD_FOREIGN ? hold->why : "the mixer has another shape than before");
    if (status == EH_HOLD_OK) eh_segment_close(hold);
    status = create(hold, path, config);
    if (status == EH_HOLD_OK && hold->is_replaced) memcpy(hold->why, why, sizeof why);
    return status;
}

static eh_hold_status open_as_engine(eh_segment_hold *hold, const char *path, const eh_engine_config *config) {
    const int folder = lock_folder(path);
    if (folder < 0) return refuse(hold, EH_HOLD_FAILED, "%s: its folder cannot be locked: %s", path, strerror(errno));
    const eh_hold_status status = open_or_make(hold, path, config);
    close(folder);
    if (status != EH_HOLD_OK) return status;
    atomic_store(&hold->segment->state, EH_STATE_STARTING);
    atomic_store(&hold->segment->engine_pid, getpid());
    eh_segment_count(hold->segment, EH_COUNT_ENGINE_STARTS, 1);
    return EH_HOLD_OK;
}

eh_hold_status eh_segment_open(eh_segment_hold *hold, const char *path, eh_segment_side side,
                               const eh_engine_config *config) {
    *hold = (eh_segment_hold){.fd = -1, .side = (int)side};
    if (side == EH_SIDE_ENGINE) return open_as_engine(hold, path, config);
    const eh_hold_status status = open_existing(hold, path);
    if (status == EH_HOLD_OK && side == EH_SIDE_CONTROL) {
        atomic_store(&hold->segment->control_pid, getpid());
        atomic_store(&hold->segment->probe_lane, 0);  // of one that was killed while it measured
        eh_segment_count(hold->segment, EH_COUNT_CONTROL_STARTS, 1);
    }
    return status;
}

void eh_segment_close(eh_segment_hold *hold) {
    if (hold->segment) munmap(hold->segment, sizeof(eh_segment));
    if (hold->fd >= 0) close(hold->fd);
    hold->segment = NULL;
    hold->fd = -1;
}

const eh_engine_config *eh_segment_config(const eh_segment_hold *hold) { return &hold->mixer; }

int eh_segment_is_current(const eh_segment_hold *hold, const char *path) {
    struct stat mine, there;
    return fstat(hold->fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino &&
           mine.st_dev == there.st_dev;
}
