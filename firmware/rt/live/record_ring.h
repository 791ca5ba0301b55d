// Frames on their way to the disk: every input and the record bus, through shared memory, to a process of its own.
//
// The audio thread puts, the recorder takes. Neither waits for the other: a ring that is full loses the newest frames
// and says how many. The recorder may die, be stopped or come back at any time; it then begins with the next frame.
// What is not there to be recorded is marked where it would lie, in the same order as the frames.
// Both ends keep the ring's measures to themselves: nothing written into the shared memory moves an access out of it.
#pragma once

#include "evenhand/types.h"

enum {
    EH_RECORD_MIX_LANES = 2,
    EH_RECORD_MAX_INPUT_LANES = 64,
    EH_RECORD_MIN_SAMPLE_RATE_HZ = 8000,
    EH_RECORD_MAX_SAMPLE_RATE_HZ = 192000,
    EH_RECORD_MIN_RING_FRAMES = 64,
    EH_RECORD_MAX_RING_FRAMES = 1 << 22,
    EH_RECORD_RING_S = 2,  // length of a ring whose configuration leaves it open
};

typedef enum {                      // why frames are missing
    EH_RECORD_GAP_RING_FULL = 1,    // the recorder or its disk came too late
    EH_RECORD_GAP_XRUN = 2,         // the sound card's buffer ran over or empty
    EH_RECORD_GAP_DEVICE_LOST = 3,  // the sound card went away
    EH_RECORD_GAP_OTHER = 4,
} eh_record_cause;

typedef enum {
    EH_RECORD_RING_OK = 0,
    EH_RECORD_RING_TOO_SMALL = 1,  // the memory holds less than the ring needs
    EH_RECORD_RING_UNKNOWN = 2,    // no ring, or one that is not complete
    EH_RECORD_RING_OTHER_LAYOUT = 3,
    EH_RECORD_RING_OTHER_CONTRACT = 4,
    EH_RECORD_RING_BAD_MEASURES = 5,
} eh_record_verdict;

typedef struct {
    uint32_t sample_rate_hz;
    uint32_t n_input_lanes;
    uint32_t n_ring_frames;  // 0: EH_RECORD_RING_S
    uint64_t generation;     // any number that tells this run of the engine from the one before
    uint64_t first_frame;    // number of the first frame put
} eh_record_config;

typedef struct {
    uint64_t at;             // frames in the ring before it
    uint64_t frame;          // number of the frame behind it: the engine's count, in which lost frames of a full ring
                             // have numbers and those of a sound card have none
    uint64_t n_lost_frames;  // 0: unknown
    uint32_t cause;          // eh_record_cause, of the first event
    uint32_t n_events;       // that became this one mark
} eh_record_mark;

typedef struct eh_record_shared eh_record_shared;

typedef struct {  // the audio thread's end
    eh_record_shared *shared;
    float *inputs, *mix;
    uint64_t n_input_lanes, n_ring_frames;
    uint64_t frame;  // number of the next frame put
    uint64_t n_written, n_marks, arm;
    eh_record_mark pending;  // not in the ring yet, where n_events is not 0
    int is_full;
} eh_record_ring;

typedef struct {  // the recorder's end
    eh_record_shared *shared;
    const float *inputs, *mix;
    uint64_t n_input_lanes, n_ring_frames;
    uint32_t sample_rate_hz;
    uint64_t generation;
    uint64_t frame;  // number of the next frame taken, once is_started
    uint64_t n_read, n_marks_read, arm;
    int is_started;  // the audio thread has seen the recorder
    int is_broken;   // the shared memory holds nonsense: detach
} eh_record_reader;

size_t eh_record_ring_size_bytes(const eh_record_config *config);  // 0 for a bad config
// memory: 64-byte aligned, size_bytes, shared and new. Never lay out a second ring in memory that is attached to.
eh_status eh_record_ring_init(eh_record_ring *r, const eh_record_config *config, void *memory);
// in (n_frames, n_in_lanes): its first n_input_lanes; out (n_frames, n_out_lanes): two from first_mix_lane on. Lanes
// that are missing, or all of them where a pointer is NULL, are silent. Costs one load while nobody records.
void eh_record_ring_put(eh_record_ring *r, const float *in, size_t n_in_lanes, const float *out, size_t n_out_lanes,
                        size_t first_mix_lane, size_t n_frames) EH_RT;
// Between two puts: frames that were never seen, 0 for an unknown number.
void eh_record_ring_gap(eh_record_ring *r, uint64_t n_lost_frames, uint32_t cause) EH_RT;
int eh_record_ring_is_armed(const eh_record_ring *r) EH_RT;
void eh_record_ring_close(eh_record_ring *r) EH_RT;  // behind the last put: a gap that is still open is told of

// Whether memory of size_bytes holds a ring of this contract.
eh_record_verdict eh_record_ring_check(void *memory, size_t size_bytes);
// check, then attach; one reader at a time, which is for the caller to see to.
eh_record_verdict eh_record_reader_attach(eh_record_reader *r, void *memory, size_t size_bytes);
void eh_record_reader_arm(eh_record_reader *r);
void eh_record_reader_disarm(eh_record_reader *r);
// 1 and the next mark, if it lies before the next frame.
int eh_record_reader_take_mark(eh_record_reader *r, eh_record_mark *mark);
// Up to max_frames, none behind the next mark, as packed little-endian 24-bit samples: inputs (n, n_input_lanes), mix
// (n, EH_RECORD_MIX_LANES). Returns n.
size_t eh_record_reader_take_s24(eh_record_reader *r, uint8_t *inputs, uint8_t *mix, size_t max_frames);
// Full scale is 1.0. Clamps, then drops what lies under 24 bits, as libsndfile does; NaN becomes 0.
void eh_record_pack_s24(const float *in, uint8_t *out, size_t n);
