// Whole-frame delays that line up microphones.
#include "evenhand/align.h"

#include "bank.h"
#include "ramp.h"
#include "simd.h"

#define MAX_DELAY_MS 20.0f

static int32_t frames_of(float delay_ms, float sample_rate_hz) {
    const float frames = delay_ms * 0.001f * sample_rate_hz;
    return frames > 0.0f ? (int32_t)((frames < 1e6f ? frames : 1e6f) + 0.5f) : 0;
}

// A power of two that holds the longest delay behind the block being written.
static int32_t ring_frames_of(float sample_rate_hz) {
    int32_t ring_frames = 64;
    while (ring_frames < frames_of(MAX_DELAY_MS, sample_rate_hz) + EH_MAX_BLOCK_FRAMES) ring_frames *= 2;
    return ring_frames;
}

size_t eh_align_size_bytes(float sample_rate_hz, int n_lanes) {
    return (size_t)ring_frames_of(sample_rate_hz) * (size_t)n_lanes * sizeof(float);
}

eh_status eh_align_init(eh_align *a, float sample_rate_hz, int n_lanes, void *memory) {
    const eh_status status = eh_bank_check(sample_rate_hz, n_lanes);
    if (status != EH_OK) return status;
    if (memory == NULL) return EH_ERR_ARGUMENT;
    *a = (eh_align){.sample_rate_hz = sample_rate_hz,
                    .n_lanes = n_lanes,
                    .max_delay_frames = frames_of(MAX_DELAY_MS, sample_rate_hz),
                    .ring_frames = ring_frames_of(sample_rate_hz),
                    .ring = memory};
    for (int lane = 0; lane < EH_MAX_LANES; lane++) a->queued_frames[lane] = -1;
    eh_align_reset(a);
    return EH_OK;
}

static void begin_fade(eh_align *a, int lane, int32_t delay_frames, int32_t fade_frames) {
    a->queued_frames[lane] = -1;
    if (delay_frames == a->delay_frames[lane]) return;
    a->target_frames[lane] = delay_frames;
    a->fade_left[lane] = a->fade_frames[lane] = fade_frames;
}

void eh_align_set(eh_align *a, int lane, float delay_ms, float ramp_ms) {
    int32_t delay_frames = frames_of(delay_ms, a->sample_rate_hz);
    if (delay_frames > a->max_delay_frames) delay_frames = a->max_delay_frames;
    const int32_t fade_frames = eh_ramp_frames(ramp_ms, a->sample_rate_hz);
    if (a->fade_left[lane] == 0) {
        begin_fade(a, lane, delay_frames, fade_frames);
    } else {
        a->queued_frames[lane] = delay_frames == a->target_frames[lane] ? -1 : delay_frames;
        a->queued_fade_frames[lane] = fade_frames;
    }
}

static void jump(eh_align *a, int lane) {
    if (a->queued_frames[lane] >= 0) a->target_frames[lane] = a->queued_frames[lane];
    a->delay_frames[lane] = a->target_frames[lane];
    a->queued_frames[lane] = -1;
    a->fade_left[lane] = 0;
}

void eh_align_reset(eh_align *a) {
    for (int lane = 0; lane < a->n_lanes; lane++) jump(a, lane);
    a->write_index = 0;
    memset(a->ring, 0, (size_t)a->ring_frames * (size_t)a->n_lanes * sizeof *a->ring);
}

void eh_align_reset_lane(eh_align *a, int lane) {
    jump(a, lane);
    for (int32_t i = 0; i < a->ring_frames; i++) a->ring[(size_t)i * (size_t)a->n_lanes + (size_t)lane] = 0.0f;
}

// The ring is written even when nobody is delayed: a delay set now finds its past.
static void remember(eh_align *a, const float *in, int32_t n_frames) {
    const size_t stride = (size_t)a->n_lanes;
    const int32_t until_end = a->ring_frames - a->write_index, n_first = n_frames < until_end ? n_frames : until_end;
    memcpy(a->ring + (size_t)a->write_index * stride, in, (size_t)n_first * stride * sizeof *in);
    memcpy(a->ring, in + (size_t)n_first * stride, (size_t)(n_frames - n_first) * stride * sizeof *in);
}

static void process_lane(eh_align *a, int lane, float *y, int32_t n_frames) {
    const int32_t stride = a->n_lanes, mask = a->ring_frames - 1;
    const float *ring = a->ring + lane;
    for (int32_t n = 0; n < n_frames;) {
        const int32_t from = a->write_index + n - a->delay_frames[lane];
        int32_t left = a->fade_left[lane], n_run = n_frames - n;
        if (left == 0) {
            for (int32_t i = 0; i < n_run; i++, y += stride) *y = ring[((from + i) & mask) * stride];
        } else {
            const int32_t to = a->write_index + n - a->target_frames[lane];
            const float per_frame = 1.0f / (float)a->fade_frames[lane];
            if (n_run > left) n_run = left;
            for (int32_t i = 0; i < n_run; i++, y += stride) {
                const float old = ring[((from + i) & mask) * stride], new = ring[((to + i) & mask) * stride];
                *y = new + (float)--left *per_frame *(old - new);
            }
            a->fade_left[lane] = left;
            if (left == 0) {
                a->delay_frames[lane] = a->target_frames[lane];
                if (a->queued_frames[lane] >= 0) {
                    begin_fade(a, lane, a->queued_frames[lane], a->queued_fade_frames[lane]);
                }
            }
        }
        n += n_run;
    }
}

static int is_passing(const eh_align *a, int first) {
    int32_t any = 0;
    for (int lane = first; lane < first + 4; lane++) any |= a->delay_frames[lane] | a->fade_left[lane];
    return any == 0;
}

void eh_align_process(eh_align *a, const float *in, float *out, size_t n_frames) {
    const size_t stride = (size_t)a->n_lanes;
    while (n_frames > 0) {
        const int32_t n = n_frames < EH_MAX_BLOCK_FRAMES ? (int32_t)n_frames : EH_MAX_BLOCK_FRAMES;
        remember(a, in, n);
        for (int first = 0; first < a->n_lanes; first += 4) {
            if (!is_passing(a, first)) {
                for (int lane = first; lane < first + 4; lane++) process_lane(a, lane, out + lane, n);
            } else if (in != out) {
                for (size_t at = (size_t)first; at < (size_t)n * stride; at += stride) {
                    v4_store(out + at, v4_load(in + at));
                }
            }
        }
        a->write_index = (a->write_index + n) & (a->ring_frames - 1);
        in += (size_t)n * stride;
        out += (size_t)n * stride;
        n_frames -= (size_t)n;
    }
}
