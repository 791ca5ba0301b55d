// Two cards with clocks of their own, as two threads would serve them, in simulated time: what the link between them
// does in minutes or hours, within seconds. Prints one `name value` a line.
//
// two_clocks SECONDS DRIFT_PPM WRITE_FRAMES READ_FRAMES TARGET_FRAMES STALLS_PER_MINUTE LOSSES_PER_MINUTE WRITER_HZ
// SOUND The writer's card runs DRIFT_PPM fast. Both threads wake up 40 us late on average, and one time in a hundred up
// to a period. A stall holds one thread or both for 10 to 50 ms; after a loss the writer's card has dropped what it
// captured meanwhile, and says so. SOUND: file for what is read on lane 0 (float32), or - for none.
#include "live/secondary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_LANES = 4, MAX_FRAMES = 2048 };
static const double READER_HZ = 48000.0, TONE_HZ = 997.0, SETTLED_S = 10.0, START_NS = 1e12;

static double uniform(void) {  // in (0, 1)
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

typedef struct {
    double rate_hz, period_frames, phase_ns;
    double ready_ns, wake_ns;  // when the next period is complete; when its thread gets to it
    double n_periods, free_ns;
} side;

static double late_ns(const side *s) {
    if (uniform() < 0.01) return uniform() * 1e9 * s->period_frames / s->rate_hz;
    return -40e3 * log(uniform());
}

static void next_period(side *s) {
    s->n_periods += 1.0;
    s->ready_ns = START_NS + s->phase_ns + 1e9 * s->n_periods * s->period_frames / s->rate_hz;
    s->wake_ns = s->ready_ns + late_ns(s);
    if (s->wake_ns < s->free_ns) s->wake_ns = s->free_ns + 2e3;  // a burst: as fast as the thread goes
}

typedef struct {
    double sum, sum_squares, lowest, highest, n;
} range;

static void add(range *r, double x) {
    if (r->n == 0 || x < r->lowest) r->lowest = x;
    if (r->n == 0 || x > r->highest) r->highest = x;
    r->sum += x, r->sum_squares += x * x, r->n += 1;
}

static double deviation(const range *r) {
    const double mean = r->sum / r->n;
    return sqrt(fmax(r->sum_squares / r->n - mean * mean, 0.0));
}

static double captured_frames(const side *s, double ns, double lost) {
    return (ns - START_NS - s->phase_ns) * 1e-9 * s->rate_hz - lost;
}

int main(int argc, char **argv) {
    if (argc != 10) return 2;
    const double seconds = atof(argv[1]), drift_ppm = atof(argv[2]), writer_hz = atof(argv[8]);
    const double stall_every_s = 60.0 / atof(argv[6]), loss_every_s = 60.0 / atof(argv[7]);
    eh_secondary_config config = {.writer_rate_hz = writer_hz,
                                  .reader_rate_hz = READER_HZ,
                                  .n_lanes = N_LANES,
                                  .max_write_frames = atoi(argv[3]),
                                  .max_read_frames = atoi(argv[4]),
                                  .target_frames = atoi(argv[5])};
    side writer = {.rate_hz = writer_hz * (1.0 + drift_ppm * 1e-6), .period_frames = atoi(argv[3])};
    side reader = {.rate_hz = READER_HZ, .period_frames = atoi(argv[4]), .phase_ns = 123456.0};
    FILE *sound = argv[9][0] == '-' ? NULL : fopen(argv[9], "wb");
    const size_t size_bytes = eh_secondary_size_bytes(&config);
    void *arena = size_bytes ? aligned_alloc(64, size_bytes) : NULL;
    eh_secondary *s;
    if (!arena || eh_secondary_init(&s, &config, arena) != EH_OK) return 2;

    static float in[MAX_FRAMES * N_LANES], out[MAX_FRAMES * N_LANES], lane[MAX_FRAMES];
    range fill = {0}, ratio = {0};
    double captured = 0.0, lost = 0.0, locked_s = 0.0, unlocked_s = 0.0, first_sound_s = -1.0;
    double stall_ns = START_NS + 1e9 * stall_every_s * uniform(), loss_ns = START_NS + 1e9 * loss_every_s * uniform();
    float before = 0.0f, jump = 0.0f;
    const double nominal = writer.rate_hz / reader.rate_hz, end_ns = START_NS + seconds * 1e9;
    next_period(&writer), next_period(&reader);
    while (fmin(writer.wake_ns, reader.wake_ns) < end_ns) {
        const int is_writer = writer.wake_ns <= reader.wake_ns;
        side *now = is_writer ? &writer : &reader;
        const int n = (int)now->period_frames;
        if (now->wake_ns > stall_ns) {
            const double until_ns = stall_ns + (10.0 + 40.0 * uniform()) * 1e6, whom = uniform() * 3.0;
            if (whom < 2.0 && writer.wake_ns < until_ns) writer.wake_ns = until_ns;
            if (whom >= 1.0 && reader.wake_ns < until_ns) reader.wake_ns = until_ns;
            stall_ns += 1e9 * stall_every_s * 2.0 * uniform();
            continue;
        }
        now->free_ns = now->wake_ns;
        if (is_writer) {
            if (now->wake_ns > loss_ns) {
                const double n_more = floor((10.0 + 40.0 * uniform()) * 1e-3 * writer_hz / n);
                now->n_periods += n_more;
                captured += (n_more + 1.0) * n, lost += (n_more + 1.0) * n;
                eh_secondary_writer_lost_frames(s);
                loss_ns += 1e9 * loss_every_s * 2.0 * uniform();
                next_period(now);
                continue;
            }
            for (int i = 0; i < n; i++, captured += 1.0) {
                const float x = (float)(0.9 * sin(fmod(captured * TONE_HZ / writer_hz, 1.0) * 2.0 * M_PI));
                for (int ch = 0; ch < N_LANES; ch++) in[i * N_LANES + ch] = x;
            }
            eh_secondary_write(s, in, (size_t)n, (int64_t)now->wake_ns);
        } else {
            // What the link means to hold is what the writer's card has, less where the reader is, on the reader's
            // edge.
            const eh_secondary_stats earlier = eh_secondary_read_stats(s);
            eh_secondary_read(s, out, (size_t)n, (int64_t)now->wake_ns);
            const eh_secondary_stats stats = eh_secondary_read_stats(s);
            const double t_s = (now->ready_ns - START_NS) * 1e-9;
            if (stats.is_sounding && first_sound_s < 0.0) first_sound_s = t_s;
            if (stats.is_sounding && earlier.is_sounding) {
                const double held = captured_frames(&writer, now->ready_ns, lost) - earlier.consumed_frames;
                if (t_s > first_sound_s + SETTLED_S) {
                    add(&fill, held - config.target_frames);
                    add(&ratio, 1e6 * (stats.ratio / nominal - 1.0));
                }
                stats.is_locked ? (locked_s += n / READER_HZ) : (unlocked_s += n / READER_HZ);
            }
            for (int i = 0; i < n; i++) {
                lane[i] = out[i * N_LANES];
                jump = fmaxf(jump, fabsf(lane[i] - before));
                before = lane[i];
            }
            if (sound) fwrite(lane, sizeof lane[0], (size_t)n, sound);
        }
        next_period(now);
    }
    if (sound) fclose(sound);
    const eh_secondary_stats stats = eh_secondary_read_stats(s);
    printf("first_sound_s %.3f\nlocked_s %.1f\nunlocked_s %.1f\n", first_sound_s, locked_s, unlocked_s);
    printf("n_starved %u\nn_gaps %u\nn_recentred %u\n", stats.n_starved, stats.n_gaps, stats.n_recentred);
    printf("n_silent_frames %llu\n", (unsigned long long)stats.n_silent_frames);
    printf("n_overflowed_frames %llu\n", (unsigned long long)stats.n_overflowed_frames);
    printf("fill_lowest %.3f\nfill_highest %.3f\nfill_mean %.3f\n", fill.lowest, fill.highest, fill.sum / fill.n);
    printf("ratio_mean_ppm %.4f\nratio_deviation_ppm %.4f\n", ratio.sum / ratio.n, deviation(&ratio));
    printf("ratio_lowest_ppm %.3f\nratio_highest_ppm %.3f\n", ratio.lowest, ratio.highest);
    printf("drift_ppm %.3f\nlargest_jump %.4f\n", stats.drift_ppm, jump);
    free(arena);
    return 0;
}
