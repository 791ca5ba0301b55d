// The virtual sound card as it lies in its shared file, and what both its sides need: the plug-in that programs open
// and the world that feeds it a session and takes what it plays.
//
// Frames are counted since the card was made; int64 carries them for ever. Everything shared is an atomic or has one
// writer; nobody locks. The file is [eh_card_header][capture ring][playback ring][playback stamps][staged playback].
// Rings hold interleaved int32 at full scale, frame f in slot f % ring_frames.
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define EH_CARD_MAGIC UINT64_C(0x445241434e455645)  // "EVENCARD"
#define EH_CARD_NEVER INT64_MAX
#define EH_CARD_NOT_STARTED INT64_C(-2)
#define EH_CARD_ARMED_START INT64_C(-1)  // playback that was started and begins in the frame in which capture starts

enum {
    EH_CARD_VERSION = 2,
    EH_CARD_MAX_CHANNELS = 64,
    EH_CARD_MIN_RING_FRAMES = 1024,
    EH_CARD_MAX_RING_FRAMES = 1 << 20,
    EH_CARD_CLOCK_SLOTS = 8,
    EH_CARD_PLUG_SLOTS = 1024,
    EH_CARD_FAULT_SLOTS = 16384,
    EH_CARD_MAX_PATH = 256,
};

enum { EH_CARD_CAPTURE, EH_CARD_PLAYBACK, EH_CARD_DIRECTIONS };

enum { EH_CARD_S16_LE = 1, EH_CARD_S24_3LE = 2, EH_CARD_S32_LE = 4, EH_CARD_ALL_FORMATS = 7 };  // a mask

typedef enum {
    EH_CARD_CLOSED,
    EH_CARD_OPEN,      // nothing to play or to read
    EH_CARD_PREPARED,  // a start would run it
    EH_CARD_RUNNING,   // started, if start_frame is not EH_CARD_ARMED_START
} eh_card_state;

typedef enum {
    EH_CARD_NO_FAULT,
    EH_CARD_XRUN,
    EH_CARD_SUSPEND,
    EH_CARD_SHORT_TRANSFER,  // amount: frames that go through, then the call ends
    EH_CARD_LATE_WAKE,       // amount: frames that one wake-up comes late
} eh_card_fault_kind;

typedef enum { EH_CARD_AS_ENODEV, EH_CARD_AS_EPIPE, EH_CARD_AS_EAGAIN } eh_card_disguise;

// A line of the card's clock: frame = anchor_frame + (now - epoch - anchor) * rate, never past limit_frame.
// A manual clock stands at anchor_frame.
typedef struct {
    _Atomic int64_t anchor_frame, anchor_ns;
    _Atomic int64_t rate_uhz;  // millionths of a frame per second
    _Atomic int64_t limit_frame;
} eh_card_clock_slot;

typedef struct {
    _Atomic int64_t frame;
    _Atomic int32_t is_plugged, disguise, sample_rate_hz;
} eh_card_plug_slot;

typedef struct {
    _Atomic int64_t frame;
    _Atomic int32_t kind, amount;
} eh_card_fault;

// What one direction shows and what is to befall it. The program that opened it writes all but what "world" marks.
typedef struct {
    _Alignas(64) _Atomic int32_t state;
    _Atomic int32_t owner_pid;      // for people to read; ownership itself is a lock on the wake FIFO
    _Atomic int64_t start_frame;    // or one of the two marks above
    _Atomic int64_t appl_frame;     // card frame the program has read or written up to
    _Atomic int64_t wait_frame;     // asleep until the clock shows this; negative while awake. world may wake it
    _Atomic int64_t staged_frames;  // playback: what was written before the start
    _Atomic int64_t n_opens, n_starts, n_wakes, n_late_wakes, max_late_frames;
    _Atomic int64_t n_xruns, n_injected_xruns, n_short_transfers, n_suspends;
    _Alignas(64) _Atomic int64_t xruns_due, suspends_due, shorts_due, lates_due;  // world adds, lates_due < 0 is "all"
    _Atomic int32_t short_frames, late_frames;                                    // world
    _Atomic uint64_t n_scheduled;                                                 // world
    _Alignas(64) _Atomic uint64_t n_befallen;
    eh_card_fault schedule[EH_CARD_FAULT_SLOTS];  // world, in the order of frames
} eh_card_direction;

typedef struct {
    uint64_t magic;
    uint32_t version, header_bytes;
    uint64_t file_bytes;
    int32_t n_channels[EH_CARD_DIRECTIONS];
    int32_t ring_frames, is_manual, has_cable, has_tape, has_recorder;
    _Atomic int32_t formats;                                 // world
    _Atomic int32_t n_offered_channels[EH_CARD_DIRECTIONS];  // world; at most n_channels
    uint64_t cable[EH_CARD_MAX_CHANNELS];   // per capture channel, the playback channels that come back on it, a mask
    _Alignas(64) _Atomic int64_t epoch_ns;  // CLOCK_MONOTONIC of frame 0; 0 until the clock begins
    _Atomic uint64_t n_clock_lines;         // world; the newest is slot (n - 1) % EH_CARD_CLOCK_SLOTS
    eh_card_clock_slot clock[EH_CARD_CLOCK_SLOTS];
    _Atomic uint64_t n_plugs;  // world; event 0 is "plugged in" at frame 0
    eh_card_plug_slot plugs[EH_CARD_PLUG_SLOTS];
    _Atomic int32_t is_over;                 // world; the plug is out for ever
    _Atomic int64_t fed_frame, taken_frame;  // world: the tape and the recorder
    _Alignas(64) _Atomic uint32_t n_news;    // a futex: counts what a waiting world wants to hear
    _Atomic uint32_t world_waits;
    // What the preamps make of the tape, as it is read; the world turns them.
    _Atomic int32_t has_preamps;
    _Atomic float preamp_gain_lin[EH_CARD_MAX_CHANNELS];
    eh_card_direction direction[EH_CARD_DIRECTIONS];
} eh_card_header;

// A mapping of the file. Geometry is a checked copy: what happens in the file later cannot lead outside the mapping.
typedef struct {
    eh_card_header *shared;
    size_t file_bytes;
    int n_channels[EH_CARD_DIRECTIONS];
    int64_t ring_frames;  // a power of two
    int is_manual, has_cable;
    uint64_t cable[EH_CARD_MAX_CHANNELS];
    int32_t *ring[EH_CARD_DIRECTIONS];
    _Atomic uint64_t *stamps;  // playback: whose sound lies in a slot
    int32_t *staged;           // playback written before its start; half a ring
    int wake_fd[EH_CARD_DIRECTIONS];
} eh_card;

typedef struct {
    uint64_t index;  // even while plugged
    int is_plugged, disguise, sample_rate_hz;
} eh_card_plug;

// Maps and checks a card. Returns 0 or a negative errno and says why in reason.
int eh_card_map(eh_card *c, const char *path, char *reason, size_t reason_bytes);
void eh_card_unmap(eh_card *c);
uint64_t eh_card_file_bytes(const int n_channels[EH_CARD_DIRECTIONS], int64_t ring_frames);
void eh_card_lay_out(eh_card *c, void *mapping);
int eh_card_wake_path(char *out, const char *path, int direction);

int64_t eh_card_now_ns(void);
int64_t eh_card_frame(const eh_card *c);
int64_t eh_card_frame_at(const eh_card *c, int64_t now_ns);
// When the clock will show frame, in CLOCK_MONOTONIC; EH_CARD_NEVER if it waits before that or is manual.
int64_t eh_card_time_of(const eh_card *c, int64_t frame);
// Begins the clock unless it runs; returns whether this call did.
int eh_card_begin(eh_card *c);

eh_card_plug eh_card_plug_at(const eh_card *c, int64_t frame);
eh_card_plug eh_card_plug_event(const eh_card *c, uint64_t index);

// The mark of frame's sound, written by a program that opened the card under this plug event.
static inline uint64_t eh_card_stamp(int64_t frame, uint64_t plug_index) {
    return ((uint64_t)frame + 1) << 16 | (plug_index & 0xffff);
}

// Sleepers. wake takes back the promise that the sleeper waits.
void eh_card_wake(eh_card *c, int direction);
void eh_card_tell_world(eh_card *c);
// Whether some living program holds this direction open.
int eh_card_is_owned(const eh_card *c, int direction);

// Playback. place puts frames where the clock will find them; release_armed starts what was armed, at frame.
void eh_card_place(eh_card *c, int64_t frame, const int32_t *frames, int64_t n_frames, uint64_t plug_index);
void eh_card_place_staged(eh_card *c, int64_t first, int64_t n_frames, uint64_t plug_index);
void eh_card_forget(eh_card *c, int64_t first_frame, int64_t end_frame);
int eh_card_release_armed(eh_card *c, int64_t frame);
