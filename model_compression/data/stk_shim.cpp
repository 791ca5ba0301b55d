// A few functions with C linkage over the instruments of the Synthesis ToolKit: made by name, played, heard in blocks of float.
// The toolkit draws its noise from rand(): whoever wants the same sound twice calls eh_stk_seed after eh_stk_open.

#include <stk/BandedWG.h>
#include <stk/BeeThree.h>
#include <stk/BlowBotl.h>
#include <stk/Bowed.h>
#include <stk/Brass.h>
#include <stk/Clarinet.h>
#include <stk/Flute.h>
#include <stk/HevyMetl.h>
#include <stk/Mandolin.h>
#include <stk/ModalBar.h>
#include <stk/Moog.h>
#include <stk/OnePole.h>
#include <stk/PercFlut.h>
#include <stk/Plucked.h>
#include <stk/Rhodey.h>
#include <stk/Saxofony.h>
#include <stk/Shakers.h>
#include <stk/TubeBell.h>
#include <stk/Twang.h>
#include <stk/Wurley.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

// Strings of one course, plucked with a sound that the caller gives (Karjalainen, Smith: commuted synthesis).
// Controls: 1 detuning, 2 hardness, 4 where it is plucked, 11 sustain, 16 strings less one.
class Course : public stk::Instrmnt {
  public:
    explicit Course(double lowest_hz) {
        for (auto &string : strings_) string.setLowestFrequency(lowest_hz);
    }

    void excite(const float *sound, size_t n_frames) { excitation_.assign(sound, sound + n_frames); }

    void clear(void) {
        for (auto &string : strings_) string.clear();
    }

    void setFrequency(stk::StkFloat hz) {
        for (int i = 0; i < n_strings_; i++) {
            const double away = n_strings_ == 1 ? 0.0 : 2.0 * i / (n_strings_ - 1) - 1.0;
            strings_[i].setFrequency(hz * std::exp2(away * detune_cents_ / 1200.0));
        }
    }

    void noteOn(stk::StkFloat hz, stk::StkFloat amplitude) {
        for (auto &string : strings_) {
            string.setPluckPosition(position_);
            string.setLoopGain(loop_gain_);
        }
        setFrequency(hz);
        pick_.setPole(0.95 - 0.9 * std::min(1.0, hardness_ * (0.3 + 0.7 * amplitude)));
        amplitude_ = amplitude;
        at_ = 0;
    }

    void noteOff(stk::StkFloat amplitude) {
        for (auto &string : strings_) string.setLoopGain((1.0 - amplitude) * 0.9);
    }

    void controlChange(int number, stk::StkFloat value) {
        const double share = value / 128.0;
        if (number == 1) detune_cents_ = 12.0 * share;
        if (number == 2) hardness_ = share;
        if (number == 4) position_ = 0.02 + 0.48 * share;
        if (number == 11) loop_gain_ = 0.97 + 0.03 * share;
        if (number == 16) n_strings_ = std::clamp(1 + static_cast<int>(value), 1, 3);
    }

    stk::StkFloat tick(unsigned int = 0) {
        const double pluck = at_ < excitation_.size() ? amplitude_ * pick_.tick(excitation_[at_++]) : 0.0;
        double sum = 0.0;
        for (int i = 0; i < n_strings_; i++) sum += strings_[i].tick(pluck);
        return lastFrame_[0] = 4.0 * sum / n_strings_; // about as loud as the toolkit's own strings
    }

    stk::StkFrames &tick(stk::StkFrames &frames, unsigned int = 0) {
        for (unsigned int i = 0; i < frames.frames(); i++) frames[i] = tick();
        return frames;
    }

  private:
    stk::Twang strings_[3];
    stk::OnePole pick_;
    std::vector<float> excitation_;
    size_t at_ = 0;
    int n_strings_ = 1;
    double amplitude_ = 0.0, detune_cents_ = 0.0, hardness_ = 0.5, position_ = 0.2, loop_gain_ = 0.99;
};

template <class Model> std::unique_ptr<stk::Instrmnt> bare(double) { return std::make_unique<Model>(); }
template <class Model> std::unique_ptr<stk::Instrmnt> deep(double hz) { return std::make_unique<Model>(hz); }

const struct {
    const char *name;
    std::unique_ptr<stk::Instrmnt> (*make)(double lowest_hz);
} MODELS[] = {
    {"BandedWG", bare<stk::BandedWG>}, {"BeeThree", bare<stk::BeeThree>}, {"BlowBotl", bare<stk::BlowBotl>},
    {"Bowed", deep<stk::Bowed>},       {"Brass", deep<stk::Brass>},       {"Clarinet", deep<stk::Clarinet>},
    {"Course", deep<Course>},          {"Flute", deep<stk::Flute>},       {"HevyMetl", bare<stk::HevyMetl>},
    {"Mandolin", deep<stk::Mandolin>}, {"ModalBar", bare<stk::ModalBar>}, {"Moog", bare<stk::Moog>},
    {"PercFlut", bare<stk::PercFlut>}, {"Plucked", deep<stk::Plucked>},   {"Rhodey", bare<stk::Rhodey>},
    {"Saxofony", deep<stk::Saxofony>}, {"Shakers", bare<stk::Shakers>},   {"TubeBell", bare<stk::TubeBell>},
    {"Wurley", bare<stk::Wurley>},
};

thread_local std::string trouble;

} // namespace

extern "C" {

// An instrument, or null: eh_stk_trouble says why.
void *eh_stk_open(const char *model, double lowest_hz, double rate_hz, const char *waves) {
    try {
        stk::Stk::showWarnings(false);
        stk::Stk::printErrors(false);
        stk::Stk::setSampleRate(rate_hz);
        stk::Stk::setRawwavePath(waves);
        for (const auto &one : MODELS)
            if (std::strcmp(one.name, model) == 0) return one.make(lowest_hz).release();
        trouble = std::string("there is no instrument ") + model;
    } catch (const stk::StkError &error) {
        trouble = const_cast<stk::StkError &>(error).getMessage();
    }
    return nullptr;
}

const char *eh_stk_trouble(void) { return trouble.c_str(); }

void eh_stk_close(void *instrument) { delete static_cast<stk::Instrmnt *>(instrument); }

void eh_stk_seed(unsigned int seed) { std::srand(seed); }

void eh_stk_control(void *instrument, int number, double value) {
    static_cast<stk::Instrmnt *>(instrument)->controlChange(number, value);
}

// What a Course is plucked with; any other instrument has its own.
void eh_stk_excite(void *instrument, const float *sound, size_t n_frames) {
    if (auto *course = dynamic_cast<Course *>(static_cast<stk::Instrmnt *>(instrument))) course->excite(sound, n_frames);
}

// Shakers take their number for a frequency.
void eh_stk_note_on(void *instrument, double freq_hz, double amplitude) {
    static_cast<stk::Instrmnt *>(instrument)->noteOn(freq_hz, amplitude);
}

void eh_stk_note_off(void *instrument, double amplitude) {
    static_cast<stk::Instrmnt *>(instrument)->noteOff(amplitude);
}

void eh_stk_render(void *instrument, float *out, size_t n_frames) {
    auto *played = static_cast<stk::Instrmnt *>(instrument);
    for (size_t i = 0; i < n_frames; i++) out[i] = static_cast<float>(played->tick());
}

} // extern "C"
