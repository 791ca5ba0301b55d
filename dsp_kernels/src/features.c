// The extractor: lays its parts out, cuts sound into steps and hops, and writes a record for each channel and hop.
#include "evenhand/features.h"

#include "bleed.h"
#include "fft.h"
#include "k_loudness.h"
#include "masking.h"
#include "pairs.h"
#include "roughness.h"
#include "slow_spectrum.h"
#include "spectral.h"
#include "spectral_math.h"
#include "units.h"

typedef struct {
    int n_groups, step_end[EH_STEPS_PER_HOP],
        step_frames[EH_STEPS_PER_HOP];  // frames from the hop's begin; in the step
    uint32_t n_frames;                  // since reset, modulo 2^32
    int hop_position;                   // frames of the hop so far
    float power_scale;
    float *window;
    eh_fft fft;
    eh_taps taps;
    eh_k_loudness loudness;
    eh_envelope envelope;
    eh_spectral spectral;
    eh_slow slow;
    eh_pairs pairs;
    eh_bleed bleed;
    eh_masking masking;
    eh_spectral_frame *frame;  // (n_groups)
    v4 *roughness;             // (n_groups)
    v4 *z, *spectrum;          // scratch
    eh_channel_features *latest;
} extractor;

static int hop_frames_of(float sample_rate_hz) { return (int)(sample_rate_hz * (EH_HOP_MS * 0.001f) + 0.5f); }

static int fft_frames_of(float sample_rate_hz) {
    int n = 64;
    while ((float)n < 0.02f * sample_rate_hz) n *= 2;
    return n < 256 ? 256 : n;
}

static void lay_out(extractor *x, float sample_rate_hz, int n_channels, eh_arena *arena) {
    const int n_groups = (n_channels + 3) / 4, hop = hop_frames_of(sample_rate_hz),
              n_fft = fft_frames_of(sample_rate_hz);
    const float hop_rate_hz = sample_rate_hz / (float)hop;
    const size_t groups = (size_t)n_groups, n_z = (size_t)(n_fft > EH_SLOW_FRAMES ? n_fft : EH_SLOW_FRAMES) * 2;
    x->n_groups = n_groups;
    x->window = eh_arena_take(arena, (size_t)n_fft * sizeof(float));
    eh_fft_init(&x->fft, n_fft, arena);
    eh_taps_init(&x->taps, sample_rate_hz, n_groups, n_fft, arena);
    eh_k_loudness_init(&x->loudness, n_groups, hop, arena);
    eh_envelope_init(&x->envelope, sample_rate_hz, n_groups, hop, arena);
    eh_spectral_init(&x->spectral, sample_rate_hz, n_fft, arena);
    eh_slow_init(&x->slow, sample_rate_hz, n_fft, n_groups, arena);
    eh_pairs_init(&x->pairs, &x->slow, arena);
    eh_bleed_init(&x->bleed, n_groups, 1000.0f / hop_rate_hz, arena);
    eh_masking_init(&x->masking, n_groups, hop_rate_hz, arena);
    x->frame = eh_arena_take(arena, groups * sizeof *x->frame);
    x->roughness = eh_arena_take(arena, groups * sizeof(v4));
    x->z = eh_arena_take(arena, n_z * sizeof(v4));
    x->spectrum = eh_arena_take(arena, (size_t)(n_fft + 2 * EH_SLOW_FRAMES) * sizeof(v4));
    x->latest = eh_arena_take(arena, (size_t)n_channels * sizeof *x->latest);
}

static eh_status check(float sample_rate_hz, int n_channels) {
    if (!(sample_rate_hz >= 8000.0f && sample_rate_hz <= 192000.0f)) return EH_ERR_SAMPLE_RATE;
    if (n_channels < 1 || n_channels > EH_MAX_LANES) return EH_ERR_ARGUMENT;
    return EH_OK;
}

size_t eh_features_size_bytes(float sample_rate_hz, int n_channels) {
    eh_arena arena = {0};
    if (check(sample_rate_hz, n_channels) != EH_OK) return 0;
    extractor measured;
    eh_arena_take(&arena, sizeof measured);
    lay_out(&measured, sample_rate_hz, n_channels, &arena);
    return arena.used_bytes;
}

eh_status eh_features_init(eh_features *f, float sample_rate_hz, int n_channels, void *memory) {
    const eh_status status = check(sample_rate_hz, n_channels);
    if (status != EH_OK) return status;
    if (!memory) return EH_ERR_ARGUMENT;
    eh_arena arena = {.base = memory};
    extractor *x = eh_arena_take(&arena, sizeof *x);
    lay_out(x, sample_rate_hz, n_channels, &arena);
    *f = (eh_features){.sample_rate_hz = sample_rate_hz,
                       .n_channels = n_channels,
                       .hop_frames = hop_frames_of(sample_rate_hz),
                       .fft_frames = fft_frames_of(sample_rate_hz),
                       .memory = x};
    double sum_of_squares = 0.0, sine, cosine;
    for (int i = 0; i < f->fft_frames; i++) {  // Hann
        eh_sincos(EH_PI * ((double)i / f->fft_frames - 0.5), &sine, &cosine);
        x->window[i] = (float)(cosine * cosine);
        sum_of_squares += cosine * cosine * cosine * cosine;
    }
    x->power_scale = (float)(2.0 / (f->fft_frames * sum_of_squares));
    for (int i = 0; i < EH_STEPS_PER_HOP; i++) {
        const int begin = i * f->hop_frames / EH_STEPS_PER_HOP;
        x->step_end[i] = (i + 1) * f->hop_frames / EH_STEPS_PER_HOP;
        x->step_frames[i] = x->step_end[i] - begin;
    }
    eh_features_reset(f);
    return EH_OK;
}

static void write_records(eh_features *f, extractor *x, int group, const v4 loudness[4]);

void eh_features_reset(eh_features *f) {
    extractor *x = f->memory;
    f->n_hops = 0;
    x->n_frames = 0;
    x->hop_position = 0;
    eh_taps_reset(&x->taps);
    eh_k_loudness_reset(&x->loudness);
    eh_envelope_reset(&x->envelope);
    eh_slow_reset(&x->slow);
    eh_pairs_reset(&x->pairs);
    eh_bleed_reset(&x->bleed);
    eh_masking_reset(&x->masking);
    memset(x->frame, 0, (size_t)x->n_groups * sizeof *x->frame);
    memset(x->roughness, 0, (size_t)x->n_groups * sizeof(v4));
    for (int g = 0; g < x->n_groups; g++) {
        const v4 silence = v4_set1(EH_SILENCE_DBFS), loudness[4] = {silence, silence, silence, silence};
        for (int m = 0; m < EH_N_MEL; m++) x->frame[g].log_mel_db[m] = silence;
        for (int m = 0; m < EH_N_MEL; m++) x->frame[g].mfcc[0] += silence * x->spectral.dct[0][m];
        write_records(f, x, g, loudness);
    }
}

void eh_features_set_mix_gain(eh_features *f, int channel, const float *bark_gain_lin) {
    extractor *x = f->memory;
    if (channel >= 0 && channel < f->n_channels) eh_masking_set_gain(&x->masking, channel, bark_gain_lin);
}

// Everything but masking, which needs all channels first. loudness: input momentary, short-term, strip likewise.
static void write_records(eh_features *f, extractor *x, int group, const v4 loudness[4]) {
    const eh_spectral_frame *s = &x->frame[group];
    const eh_envelope_group *e = &x->envelope.group[group];
    const eh_bleed_group *b = &x->bleed.group[group];
    const v4 rms_dbfs = v4_power_to_db(e->power, EH_SILENCE_DBFS);
    const v4 peak = x->taps.peak[group], peak_dbfs = v4_power_to_db(peak * peak, EH_SILENCE_DBFS);
    const v4 crest_db = eh_envelope_crest_db(&x->envelope, group), syllabic = eh_envelope_syllabic(&x->envelope, group);
    v4 bark_dbfs[EH_N_BARK];
    for (int i = 0; i < EH_N_BARK; i++) bark_dbfs[i] = v4_power_to_db(s->bark_power[i], EH_SILENCE_DBFS);
    for (int lane = 0; lane < 4 && group * 4 + lane < f->n_channels; lane++) {
        eh_channel_features *r = &x->latest[group * 4 + lane];
        const eh_note *note = &x->envelope.note[group * 4 + lane];
        for (int i = 0; i < EH_N_MEL; i++) r->log_mel_db[i] = s->log_mel_db[i][lane];
        for (int i = 0; i < EH_N_MFCC; i++) r->mfcc[i] = s->mfcc[i][lane];
        for (int i = 0; i < EH_N_BARK; i++) r->bark_dbfs[i] = bark_dbfs[i][lane];
        r->centroid_hz = s->centroid_hz[lane];
        r->rolloff_hz = s->rolloff_hz[lane];
        r->flux = s->flux[lane];
        r->flatness = s->flatness[lane];
        r->rms_dbfs = rms_dbfs[lane];
        r->peak_dbfs = peak_dbfs[lane];
        r->crest_db = crest_db[lane];
        r->attack_ms = note->attack_ms;
        r->decay_db_per_s = note->decay_db_per_s;
        r->brightness = s->brightness[lane];
        r->roughness = x->roughness[group][lane];
        r->onset = e->hops_since_onset[lane] <= 2.0f ? 1.0f : 0.0f;  // counted from 1
        r->loudness_momentary_lufs = loudness[0][lane];
        r->loudness_short_term_lufs = loudness[1][lane];
        r->noise_floor_dbfs = e->floor_db[lane];
        r->is_active = b->is_active[lane];
        r->syllabic_modulation = syllabic[lane];
        r->strip_loudness_momentary_lufs = loudness[2][lane];
        r->strip_loudness_short_term_lufs = loudness[3][lane];
        r->bleed_coherence = b->coherence[lane];
        r->bleed_delay_ms = b->delay_ms[lane];
        r->bleed_source = b->source[lane];
        r->masked_fraction = 0.0f;
        r->masked_by = -1.0f;
    }
}

static void analyse_group(extractor *x, int group) {
    eh_envelope_levels(&x->envelope, &x->taps, group, x->step_frames);
    eh_taps_windowed(&x->taps, group, x->n_frames, x->window, x->fft.n_real, x->z);
    eh_fft_power(&x->fft, x->z, x->spectrum, x->power_scale);
    eh_spectral_frame *frame = &x->frame[group];
    eh_spectral_analyse(&x->spectral, x->spectrum, frame);
    eh_envelope_notes(&x->envelope, group, frame->flux, frame->flatness, x->bleed.group[group].is_active);
    eh_masking_take(&x->masking, group, frame->bark_power);
}

// This hop's share of the long spectra and of the pairs.
static void analyse_slowly(extractor *x, int hop_frames) {
    int first, end;
    eh_slow_decimate(&x->slow, &x->taps, x->n_frames, hop_frames);
    if (x->slow.phase == 0) {
        eh_pairs_begin_cycle(&x->pairs);
        eh_bleed_choose(&x->bleed, &x->pairs);
    }
    eh_slow_turn(&x->slow, x->n_groups, &first, &end);
    for (int group = first; group < end; group++) {
        eh_slow_transform(&x->slow, group, x->z, x->spectrum);
        x->roughness[group] = eh_roughness(x->spectrum, EH_SLOW_LAST_BIN, x->slow.bin_hz);
        const v4 floor_db = x->envelope.group[group].floor_db;
        eh_pairs_take(&x->pairs, group, x->spectrum, eh_bleed_least_source_power(floor_db));
    }
    eh_slow_turn(&x->slow, x->pairs.n_quads, &first, &end);
    eh_pairs_learn(&x->pairs, first, end);
    eh_pairs_judge(&x->pairs, x->z);
    eh_slow_end_hop(&x->slow);
}

static void end_hop(eh_features *f, extractor *x) {
    for (int group = 0; group < x->n_groups; group++) analyse_group(x, group);
    analyse_slowly(x, f->hop_frames);
    eh_bleed_decide(&x->bleed, &x->envelope, &x->pairs);
    eh_k_loudness_next(&x->loudness);
    for (int group = 0; group < x->n_groups; group++) {
        v4 loudness[4];
        for (int tap = 0; tap < EH_N_TAPS; tap++)
            eh_k_loudness_take(&x->loudness, &x->taps, group, tap, &loudness[2 * tap], &loudness[2 * tap + 1]);
        write_records(f, x, group, loudness);
    }
    eh_masking_begin(&x->masking);
    for (int group = 0; group < x->n_groups; group++)
        eh_masking_judge(&x->masking, group, x->bleed.group[group].is_active, x->envelope.n_hops);
    for (int channel = 0; channel < f->n_channels; channel++) {
        eh_channel_features *r = &x->latest[channel];
        if (r->is_active > 0.0f) r->masked_fraction = x->masking.fraction[channel];
        r->masked_by = x->masking.masked_by[channel];
    }
    eh_envelope_end_hop(&x->envelope);
    eh_taps_begin_hop(&x->taps);
    x->hop_position = 0;
    f->n_hops++;
}

int eh_features_process(eh_features *f, const float *input, const float *strip, int n_lanes, size_t n_frames) {
    extractor *x = f->memory;
    const size_t stride = (size_t)n_lanes;
    int n_hops = 0;
    if (n_lanes < x->n_groups * 4) return 0;
    for (int step = 0; n_frames > 0;) {
        while (x->hop_position >= x->step_end[step]) step++;
        const size_t left = (size_t)(x->step_end[step] - x->hop_position), n = left < n_frames ? left : n_frames;
        eh_taps_process(&x->taps, input, strip, stride, x->n_frames, step, n);
        x->n_frames += (uint32_t)n;
        x->hop_position += (int)n;
        input += n * stride;
        strip += n * stride;
        n_frames -= n;
        if (x->hop_position < f->hop_frames) continue;
        end_hop(f, x);
        step = 0;
        n_hops++;
    }
    return n_hops;
}

const eh_channel_features *eh_features_latest(const eh_features *f) { return ((const extractor *)f->memory)->latest; }

void eh_features_pair(const eh_features *f, int a, int b, float *coherence, float *delay_ms) {
    const extractor *x = f->memory;
    *coherence = *delay_ms = 0.0f;
    if (a < 0 || b < 0 || a >= f->n_channels || b >= f->n_channels || a == b) return;
    // Whichever of the two directions has the clearer picture; seen from b, a comes earlier by the same time.
    const eh_quad *ab = &x->pairs.quad[a * x->n_groups + b / 4], *ba = &x->pairs.quad[b * x->n_groups + a / 4];
    const int is_ab = ab->coherence[b % 4] >= ba->coherence[a % 4];
    if (ab->coherence[b % 4] <= 0.0f && ba->coherence[a % 4] <= 0.0f) return;
    *coherence = is_ab ? ab->coherence[b % 4] : ba->coherence[a % 4];
    *delay_ms = is_ab ? ab->delay_ms[b % 4] : -ba->delay_ms[a % 4];
}
