// What the engine shows: meters, loudness, counters.
#include "engine_state.h"
#include "units.h"

static float larger(float a, float b) { return a > b ? a : b; }

static float behind_fader_dbfs(float level_dbfs, float fader_lin) {
    if (level_dbfs <= EH_SILENCE_DBFS || fader_lin <= 0.0f) return EH_SILENCE_DBFS;
    return larger(level_dbfs + (float)eh_lin_to_db(fader_lin), EH_SILENCE_DBFS);
}

static void read_channel(eh_engine *e, int ch, eh_channel_meters *m) {
    *m = (eh_channel_meters){.input_peak_dbfs = EH_SILENCE_DBFS,
                             .input_rms_dbfs = EH_SILENCE_DBFS,
                             .output_peak_dbfs = EH_SILENCE_DBFS,
                             .output_rms_dbfs = EH_SILENCE_DBFS};
    const int first = e->first_lane[ch];
    for (int lane = first; lane <= first + (e->config.is_stereo[ch] ? 1 : 0); lane++) {
        float peak_dbfs, rms_dbfs;
        eh_meters_read(&e->input_meters, lane, &peak_dbfs, &rms_dbfs);
        m->input_peak_dbfs = larger(m->input_peak_dbfs, peak_dbfs);
        m->input_rms_dbfs = larger(m->input_rms_dbfs, rms_dbfs);
        eh_meters_read(&e->output_meters, lane, &peak_dbfs, &rms_dbfs);
        m->output_peak_dbfs = larger(m->output_peak_dbfs, behind_fader_dbfs(peak_dbfs, e->fader_lin[ch]));
        m->output_rms_dbfs = larger(m->output_rms_dbfs, behind_fader_dbfs(rms_dbfs, e->fader_lin[ch]));
        m->n_clipped += (float)e->n_clipped[lane];
        m->n_scrubbed += (float)e->n_bad[lane];
    }
    m->gate_gain_db = eh_gate_gain_db(&e->gate, first);
    m->compressor_gain_db = eh_compressor_gain_db(&e->compressor, first);
    m->duck_gain_db = eh_ducker_gain_db(&e->ducker, first);
    const float automix_lin = e->automix.gain_lin[ch];
    m->automix_gain_db =
        automix_lin > 0.0f ? larger((float)eh_lin_to_db(automix_lin), EH_SILENCE_DBFS) : EH_SILENCE_DBFS;
}

void eh_engine_read_meters(eh_engine *e, eh_channel_meters *channels, eh_bus_meters *buses) {
    for (int ch = 0; ch < e->config.n_channels; ch++) read_channel(e, ch, &channels[ch]);
    for (int bus = 0; bus < EH_N_OUTPUTS; bus++) {
        eh_meters_read(&e->bus_meters, bus, &buses[bus].peak_dbfs, &buses[bus].rms_dbfs);
        buses[bus].limiter_gain_db = eh_limiter_read_gain_db(&e->limiter, bus);
    }
}

eh_loudness_reading eh_engine_loudness(const eh_engine *e) { return eh_loudness_read(&e->loudness); }

eh_engine_stats eh_engine_read_stats(const eh_engine *e) {
    eh_engine_stats stats = e->stats;
    stats.n_taps_dropped = atomic_load_explicit(&e->taps.n_dropped, memory_order_relaxed);
    return stats;
}
