// What lies where in the segment; for the C files of this folder only.
#pragma once

#include "mailbox.h"
#include "segment.h"

enum { EH_LINE_BYTES = 64, EH_N_LATEST = 4, EH_CONTRACT_ID_BYTES = 32 };

// Single producer, single consumer. A full ring drops the newest and counts it.
typedef struct {
    _Alignas(EH_LINE_BYTES) atomic_uint_least64_t n_written;
    _Alignas(EH_LINE_BYTES) atomic_uint_least64_t n_read;
} eh_ring_ends;

// Two pages: what was written last stands until what is being written is complete.
typedef struct {
    atomic_uint newest;  // page, plus 2 once there is one
    struct {
        uint32_t n_bytes, checksum;
        unsigned char bytes[EH_NOTEBOOK_BYTES];
    } page[2];
} eh_notebook;

// A text that one thread writes and anybody reads.
typedef struct {
    atomic_uint version;  // odd while it is being written
    char text[EH_WHY_BYTES];
} eh_trouble;

struct eh_segment {
    char magic[8];
    uint32_t version, size_bytes;
    char contract_id[EH_CONTRACT_ID_BYTES];
    eh_engine_config config;
    atomic_uint_least64_t last_frame;  // where a successor goes on counting

    eh_mailbox params;
    atomic_uint_least64_t n_published;
    eh_triple mix_gain_owner;
    float mix_gain_lin[3][EH_N_CHANNEL][EH_N_BARK];

    eh_ring_ends observations;
    eh_observation observation[EH_N_OBSERVATIONS];
    eh_ring_ends events;
    eh_event event[EH_N_EVENTS];
    atomic_uint_least64_t n_latest;
    eh_observation latest[EH_N_LATEST];
    atomic_uint news;  // a futex: goes up with each observation

    atomic_uint_least64_t counter[EH_N_COUNTERS];
    atomic_uint_least64_t engine_beat_ns, control_beat_ns, control_frame;
    atomic_uint_least32_t wake_us[EH_N_WAKE_BUCKETS], service_us[EH_N_WAKE_BUCKETS];
    atomic_int engine_pid, control_pid, state, is_realtime, is_locked, round_trip_frames;
    atomic_int secondary_state, secondary_ppm_x1000;
    atomic_int probe_lane;  // plus 1; 0 for none
    atomic_uint n_probes;
    atomic_int probe_way_frames[EH_N_PROBES];
    eh_trouble trouble, secondary_trouble;

    eh_notebook notebook[EH_N_NOTEBOOKS];
};

_Static_assert(EH_N_OUTPUTS == 12 && EH_N_CHANNEL == 32, "eh_observation has the mixer's size");
_Static_assert(EH_N_COUNTERS <= 32, "eh_live_status holds every counter");

// Engine's side of the segment. The audio thread may call what is marked.
void eh_segment_count(eh_segment *s, eh_counter counter, uint64_t n) EH_RT;
void eh_segment_tell(eh_segment *s, const eh_event *event) EH_RT;
int eh_segment_put_observation(eh_segment *s, const eh_observation *observation);
void eh_trouble_set(eh_trouble *trouble, const char *text);
void eh_segment_count_us(atomic_uint_least32_t *histogram, uint64_t duration_ns) EH_RT;
