// From a parameter snapshot to kernel settings. Runs in the audio thread: only what changed is set.
#include "eh_ramps.h"
#include "engine_state.h"
#include "units.h"

#include <string.h>

#define CHANGED(section) (memcmp(&new_->section, &old->section, sizeof new_->section) != 0)

static int is_stereo(const eh_engine *e, int ch) { return e->config.is_stereo[ch]; }

static int last_lane(const eh_engine *e, int ch) { return e->first_lane[ch] + (is_stereo(e, ch) ? 1 : 0); }

// ------------------------------------------------------------------------------------------------------- strips

static void set_input(eh_engine *e, int ch, const eh_input_params *p) {
    const float sign = p->is_polarity_inverted > 0.5f ? -1.0f : 1.0f;
    const float gain_lin = sign * (float)eh_db_to_lin(p->trim_db);
    for (int lane = e->first_lane[ch]; lane <= last_lane(e, ch); lane++) {
        const int patched = (int)p->source - 1 + (lane - e->first_lane[ch]);
        const int is_patched = p->source > 0.5f && patched < e->config.n_capture_lanes;
        e->source[lane] = is_patched ? patched : e->default_source[lane];
        eh_gain_set(&e->trim, lane, gain_lin, EH_INPUT_TRIM_DB_RAMP_MS);
        eh_align_set(&e->align, lane, p->delay_ms, EH_INPUT_DELAY_MS_RAMP_MS);
    }
}

static void find_patch(eh_engine *e) {
    e->is_straight = e->config.n_capture_lanes == e->n_lanes;
    for (int lane = 0; lane < e->n_lanes; lane++) e->is_straight &= e->source[lane] == lane;
}

static eh_section_design band_design(const eh_eq_params *p) {
    static const int types[] = {EH_SECTION_BELL, EH_SECTION_LOW_SHELF, EH_SECTION_HIGH_SHELF};
    const int is_flat = p->is_on < 0.5f || p->gain_db == 0.0f;
    return (eh_section_design){is_flat ? EH_SECTION_FLAT : types[(int)p->type], p->freq_hz, p->gain_db, p->q};
}

static eh_section_design tilt_design(const eh_tilt_params *p) {
    return (eh_section_design){p->gain_db == 0.0f ? EH_SECTION_FLAT : EH_SECTION_TILT, p->freq_hz, p->gain_db, 0.5f};
}

static eh_section_design bell_design(float freq_hz, float gain_db, float q) {
    return (eh_section_design){gain_db == 0.0f ? EH_SECTION_FLAT : EH_SECTION_BELL, freq_hz, gain_db, q};
}

static void set_hpf(eh_engine *e, int ch, const eh_hpf_params *p) {
    const eh_section_design design = {p->is_on > 0.5f ? EH_SECTION_HIGH_PASS : EH_SECTION_FLAT, p->freq_hz, 0.0f,
                                      0.70710678f};
    for (int lane = e->first_lane[ch]; lane <= last_lane(e, ch); lane++)
        eh_eq_set(&e->hpf, lane, 0, &design, EH_HPF_FREQ_HZ_RAMP_MS);
}

static void set_strip_section(eh_engine *e, int ch, int section, eh_section_design design, float ramp_ms) {
    for (int lane = e->first_lane[ch]; lane <= last_lane(e, ch); lane++)
        eh_eq_set(&e->eq, lane, section, &design, ramp_ms);
}

static void set_strip_eq(eh_engine *e, int ch, const eh_channel_scope *new_, const eh_channel_scope *old) {
    for (int band = 0; band < EH_N_EQ_BANDS; band++)
        if (CHANGED(eq[band])) set_strip_section(e, ch, band, band_design(&new_->eq[band]), EH_EQ_GAIN_DB_RAMP_MS);
    if (CHANGED(tilt)) set_strip_section(e, ch, STRIP_TILT, tilt_design(&new_->tilt), EH_TILT_GAIN_DB_RAMP_MS);
    for (int band = 0; band < EH_N_UNMASK_BANDS; band++) {
        const eh_unmask_params *p = &new_->unmask[band];
        if (CHANGED(unmask[band]))
            set_strip_section(e, ch, STRIP_UNMASK + band, bell_design(p->freq_hz, p->gain_db, p->q),
                              EH_UNMASK_GAIN_DB_RAMP_MS);
    }
}

static void set_strip_dynamics(eh_engine *e, int ch, const eh_channel_scope *new_, const eh_channel_scope *old) {
    for (int lane = e->first_lane[ch]; lane <= last_lane(e, ch); lane++) {
        if (CHANGED(gate)) eh_gate_set(&e->gate, lane, &new_->gate);
        if (CHANGED(compressor)) eh_compressor_set(&e->compressor, lane, &new_->compressor);
        if (CHANGED(saturation)) eh_saturation_set(&e->saturation, lane, &new_->saturation);
    }
}

// Gains of one lane into every bus. side: 0 left or mono, 1 right.
static void set_lane_mix(eh_engine *e, int ch, int side, const eh_channel_scope *p) {
    float pre[N_BUSES] = {0}, post[N_BUSES] = {0}, pan[2][2] = {{0}};
    if (is_stereo(e, ch))
        eh_pan_stereo(p->pan.position, p->pan.width, pan);
    else
        eh_pan_mono(p->pan.position, pan[0]);
    const float fader_lin = e->fader_lin[ch];
    const float mono_lin = is_stereo(e, ch) ? 0.5f : 1.0f;  // a stereo strip reaches a mono bus as its middle
    const float record_lin = (float)eh_fader_to_lin(p->record_send.level_db);
    for (int to = 0; to < 2; to++) {
        post[BUS_MAIN_L + to] = fader_lin * pan[side][to];
        post[BUS_RECORD_L + to] = fader_lin * pan[side][to] * record_lin;
        pre[BUS_MONITOR_L + to] = p->solo.is_on > 0.5f ? pan[side][to] : 0.0f;
    }
    for (int aux = 0; aux < EH_N_AUX; aux++) {
        const float send_lin = (float)eh_fader_to_lin(p->send[aux].level_db) * mono_lin;
        if ((int)p->send[aux].tap == EH_SEND_TAP_PRE)
            pre[BUS_AUX + aux] = p->fader.is_muted > 0.5f ? 0.0f : send_lin;
        else
            post[BUS_AUX + aux] = fader_lin * send_lin;
    }
    for (int fx = 0; fx < 2; fx++)
        post[BUS_REVERB + fx] = fader_lin * mono_lin * (float)eh_fader_to_lin(p->fx_send[fx].level_db);
    const float key[4] = {(int)p->duck.role == EH_DUCK_ROLE_KEY ? fader_lin * mono_lin : 0.0f};
    const int lane = e->first_lane[ch] + side;
    eh_mix_set(&e->pre_mix, lane, pre, EH_SEND_LEVEL_DB_RAMP_MS);
    eh_mix_set(&e->post_mix, lane, post, EH_FADER_LEVEL_DB_RAMP_MS);
    eh_mix_set(&e->key_mix, lane, key, EH_FADER_LEVEL_DB_RAMP_MS);
}

static float fader_with_dca(const eh_params *p, int ch) {
    const eh_fader_params *fader = &p->channel[ch].fader;
    if (fader->is_muted > 0.5f) return 0.0f;
    double lin = eh_fader_to_lin(fader->level_db);
    if (fader->dca > 0.5f) {
        const eh_dca_params *dca = &p->dca[(int)fader->dca - 1].dca;
        lin *= dca->is_muted > 0.5f ? 0.0 : eh_fader_to_lin(dca->level_db);
    }
    return (float)lin;
}

static void set_channel(eh_engine *e, int ch, const eh_params *params, int dca_changed) {
    const eh_channel_scope *new_ = &params->channel[ch], *old = &e->params.channel[ch];
    if (!dca_changed && memcmp(new_, old, sizeof *new_) == 0) return;
    if (CHANGED(input)) set_input(e, ch, &new_->input);
    if (CHANGED(hpf)) set_hpf(e, ch, &new_->hpf);
    set_strip_eq(e, ch, new_, old);
    set_strip_dynamics(e, ch, new_, old);
    e->fader_lin[ch] = fader_with_dca(params, ch);
    eh_automix_set_channel(&e->automix, ch, &new_->automix, e->fader_lin[ch]);
    for (int lane = e->first_lane[ch]; lane <= last_lane(e, ch); lane++) {
        const int is_ducked = (int)new_->duck.role == EH_DUCK_ROLE_DUCKED;
        eh_ducker_set_depth(&e->ducker, lane, is_ducked ? new_->duck.depth_db : 0.0f, EH_DUCK_DEPTH_DB_RAMP_MS);
        set_lane_mix(e, ch, lane - e->first_lane[ch], new_);
    }
}

// -------------------------------------------------------------------------------------------------------- buses

static void set_bus_eq(eh_engine *e, int bus, const eh_eq_params *eq, const eh_tilt_params *tilt,
                       const eh_notch_params *notch) {
    for (int band = 0; band < EH_N_EQ_BANDS; band++) {
        const eh_section_design design = band_design(&eq[band]);
        eh_eq_set(&e->bus_eq, bus, band, &design, EH_EQ_GAIN_DB_RAMP_MS);
    }
    if (tilt) {
        const eh_section_design design = tilt_design(tilt);
        eh_eq_set(&e->bus_eq, bus, BUS_TILT, &design, EH_TILT_GAIN_DB_RAMP_MS);
    }
    for (int n = 0; n < EH_N_NOTCHES; n++) {
        const eh_section_design design = bell_design(notch[n].freq_hz, notch[n].gain_db, notch[n].q);
        eh_eq_set(&e->bus_eq, bus, BUS_NOTCH + n, &design, EH_NOTCH_GAIN_DB_RAMP_MS);
    }
}

static float bus_level_lin(const eh_bus_params *p) {
    return p->is_muted > 0.5f ? 0.0f : (float)eh_fader_to_lin(p->level_db);
}

static void set_output(eh_engine *e, int bus, float gain_lin, float ramp_ms, const eh_limiter_params *limiter) {
    eh_gain_set(&e->bus_gain, bus, gain_lin, ramp_ms);
    eh_limiter_set(&e->limiter, bus, limiter);
}

static void set_main(eh_engine *e, const eh_main_scope *new_, const eh_main_scope *old) {
    if (memcmp(new_, old, sizeof *new_) == 0) return;
    const float gain_lin = bus_level_lin(&new_->bus) * (float)eh_db_to_lin(new_->ride.gain_db);
    for (int bus = BUS_MAIN_L; bus <= BUS_MAIN_R; bus++) {
        if (CHANGED(eq) || CHANGED(tilt) || CHANGED(notch)) set_bus_eq(e, bus, new_->eq, &new_->tilt, new_->notch);
        eh_ducker_set_depth(&e->bus_ducker, bus, new_->bus_duck.depth_db, EH_BUS_DUCK_DEPTH_DB_RAMP_MS);
        set_output(e, bus, gain_lin, CHANGED(bus) ? EH_BUS_LEVEL_DB_RAMP_MS : EH_RIDE_GAIN_DB_RAMP_MS, &new_->limiter);
    }
}

static void set_record(eh_engine *e, const eh_record_scope *new_, const eh_record_scope *old) {
    if (memcmp(new_, old, sizeof *new_) == 0) return;
    const float gain_lin = bus_level_lin(&new_->bus) * (float)eh_db_to_lin(new_->ride.gain_db);
    for (int bus = BUS_RECORD_L; bus <= BUS_RECORD_R; bus++)
        set_output(e, bus, gain_lin, CHANGED(bus) ? EH_BUS_LEVEL_DB_RAMP_MS : EH_RIDE_GAIN_DB_RAMP_MS, &new_->limiter);
}

static void set_aux(eh_engine *e, int aux, const eh_aux_scope *new_, const eh_aux_scope *old) {
    if (memcmp(new_, old, sizeof *new_) == 0) return;
    const int bus = BUS_AUX + aux;
    if (CHANGED(eq) || CHANGED(notch)) set_bus_eq(e, bus, new_->eq, NULL, new_->notch);
    eh_ducker_set_depth(&e->bus_ducker, bus, new_->bus_duck.depth_db, EH_BUS_DUCK_DEPTH_DB_RAMP_MS);
    set_output(e, bus, bus_level_lin(&new_->bus), EH_BUS_LEVEL_DB_RAMP_MS, &new_->limiter);
}

// The monitor hears the soloed channels; without any, the main mix.
static void set_monitor(eh_engine *e, const eh_params *p) {
    int is_soloed = 0;
    for (int ch = 0; ch < e->config.n_channels; ch++) is_soloed |= p->channel[ch].solo.is_on > 0.5f;
    const float level_lin = bus_level_lin(&p->monitor.bus);
    for (int side = 0; side < 2; side++) {
        set_output(e, BUS_MONITOR_L + side, level_lin, EH_BUS_LEVEL_DB_RAMP_MS, &p->monitor.limiter);
        eh_gain_set(&e->monitor_feed, side, is_soloed ? 0.0f : level_lin, EH_SOLO_IS_ON_RAMP_MS);
    }
}

void eh_engine_take_over(eh_engine *e, const eh_params *published) {
    e->incoming = *published;
    e->stats.n_clamped += eh_params_clamp(&e->incoming);
    const eh_params *p = &e->incoming, *old = &e->params;
    const int dca_changed = memcmp(p->dca, old->dca, sizeof old->dca) != 0;
    for (int ch = 0; ch < e->config.n_channels; ch++) set_channel(e, ch, p, dca_changed);
    find_patch(e);
    for (int group = 0; group < EH_N_GROUP; group++)
        if (memcmp(&p->group[group], &old->group[group], sizeof old->group[group]) != 0)
            eh_automix_set_group(&e->automix, group, &p->group[group].share);
    set_main(e, &p->main, &old->main);
    set_record(e, &p->record, &old->record);
    for (int aux = 0; aux < EH_N_AUX; aux++) set_aux(e, aux, &p->aux[aux], &old->aux[aux]);
    set_monitor(e, p);
    if (memcmp(&p->reverb, &old->reverb, sizeof old->reverb) != 0) eh_reverb_set(&e->reverb, &p->reverb.reverb);
    if (memcmp(&p->delay, &old->delay, sizeof old->delay) != 0) eh_delay_set(&e->delay, &p->delay.delay);
    if (memcmp(&p->system, &old->system, sizeof old->system) != 0) {
        eh_ducker_set(&e->ducker, &p->system.ducker);
        eh_ducker_set(&e->bus_ducker, &p->system.ducker);
    }
    const float panic_lin = p->system.panic.is_on > 0.5f ? 0.0f : 1.0f;
    for (int bus = 0; bus < EH_N_OUTPUTS; bus++) eh_gain_set(&e->panic, bus, panic_lin, EH_PANIC_IS_ON_RAMP_MS);
    e->params = e->incoming;
    e->stats.n_snapshots++;
}
