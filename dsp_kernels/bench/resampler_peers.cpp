// Other people's variable-ratio resamplers behind one face, as far as their headers are installed. For the bench only.
#include <cstddef>
#include <cstring>
#include <memory>

#if __has_include(<zita-resampler/vresampler.h>)
#include <zita-resampler/vresampler.h>
#define HAS_ZITA 1
#endif
#if __has_include(<speex/speex_resampler.h>)
#include <speex/speex_resampler.h>
#define HAS_SPEEX 1
#endif
#if __has_include(<soxr.h>)
#include <soxr.h>
#define HAS_SOXR 1
#endif

namespace {

enum { RATE_HZ = 48000 };

struct Resampler {
    virtual ~Resampler() = default;
    // Takes all of in and returns the frames written to out, which has room enough.
    virtual size_t process(const float *in, size_t n_frames, float *out, size_t room) = 0;
};

#ifdef HAS_ZITA
struct Zita : Resampler {
    VResampler core;
    Zita(double ratio, int n_lanes, int half_length) { core.setup(1.0 / ratio, n_lanes, half_length); }
    size_t process(const float *in, size_t n_frames, float *out, size_t room) override {
        core.inp_count = (unsigned)n_frames;
        core.inp_data = const_cast<float *>(in);
        core.out_count = (unsigned)room;
        core.out_data = out;
        core.process();
        return room - core.out_count;
    }
};
#endif

#ifdef HAS_SPEEX
struct Speex : Resampler {
    SpeexResamplerState *core;
    Speex(double ratio, int n_lanes, int quality) {
        int error = 0;
        const spx_uint32_t denominator = 100000;
        core = speex_resampler_init_frac(n_lanes, (spx_uint32_t)(ratio * denominator + 0.5), denominator, RATE_HZ,
                                         RATE_HZ, quality, &error);
    }
    ~Speex() override { speex_resampler_destroy(core); }
    size_t process(const float *in, size_t n_frames, float *out, size_t room) override {
        spx_uint32_t taken = (spx_uint32_t)n_frames, given = (spx_uint32_t)room;
        speex_resampler_process_interleaved_float(core, in, &taken, out, &given);
        return given;
    }
};
#endif

#ifdef HAS_SOXR
struct Soxr : Resampler {
    soxr_t core;
    Soxr(double ratio, int n_lanes) {
        const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, SOXR_VR);
        core = soxr_create(1.2, 1.0, (unsigned)n_lanes, nullptr, nullptr, &quality, nullptr);
        soxr_set_io_ratio(core, ratio, 0);
    }
    ~Soxr() override { soxr_delete(core); }
    size_t process(const float *in, size_t n_frames, float *out, size_t room) override {
        size_t taken = 0, given = 0;
        soxr_process(core, in, n_frames, &taken, out, room, &given);
        return given;
    }
};
#endif

std::unique_ptr<Resampler> open(const char *name, double ratio, int n_lanes, int quality) {
    (void)ratio, (void)n_lanes, (void)quality, (void)name;
#ifdef HAS_ZITA
    if (!std::strcmp(name, "zita")) return std::make_unique<Zita>(ratio, n_lanes, quality);
#endif
#ifdef HAS_SPEEX
    if (!std::strcmp(name, "speexdsp")) return std::make_unique<Speex>(ratio, n_lanes, quality);
#endif
#ifdef HAS_SOXR
    if (!std::strcmp(name, "soxr")) return std::make_unique<Soxr>(ratio, n_lanes);
#endif
    return nullptr;
}

}  // namespace

extern "C" {

void *peer_open(const char *name, double ratio, int n_lanes, int quality) {
    return open(name, ratio, n_lanes, quality).release();
}
size_t peer_process(void *peer, const float *in, size_t n_frames, float *out, size_t room) {
    return static_cast<Resampler *>(peer)->process(in, n_frames, out, room);
}
void peer_run(void *peer, const float *in, size_t n_frames, float *out, size_t room, int n_blocks) {
    for (int i = 0; i < n_blocks; i++) peer_process(peer, in, n_frames, out, room);
}
}
