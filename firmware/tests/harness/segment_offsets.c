// Says where each field of the segment lies, for tests that damage it: name, offset and size in bytes, a line each.
#include "live/segment_layout.h"

#include <stddef.h>
#include <stdio.h>

#define SAY(field) printf("%s %zu %zu\n", #field, offsetof(eh_segment, field), sizeof(((eh_segment *)0)->field))

int main(void) {
    SAY(magic);
    SAY(version);
    SAY(size_bytes);
    SAY(contract_id);
    SAY(config);
    SAY(last_frame);
    SAY(params.triple);
    SAY(params.slot);
    SAY(n_published);
    SAY(mix_gain_owner);
    SAY(mix_gain_lin);
    SAY(observations.n_written);
    SAY(observations.n_read);
    SAY(observation);
    SAY(events.n_written);
    SAY(events.n_read);
    SAY(event);
    SAY(n_latest);
    SAY(latest);
    SAY(news);
    SAY(counter);
    SAY(engine_beat_ns);
    SAY(control_beat_ns);
    SAY(control_frame);
    SAY(wake_us);
    SAY(service_us);
    SAY(engine_pid);
    SAY(control_pid);
    SAY(state);
    SAY(round_trip_frames);
    SAY(probe_lane);
    SAY(n_probes);
    SAY(probe_way_frames);
    SAY(trouble);
    SAY(notebook[0].newest);
    SAY(notebook[0].page[0].n_bytes);
    SAY(notebook[0].page[0].checksum);
    SAY(notebook[0].page[0].bytes);
    SAY(notebook[0].page[1].n_bytes);
    SAY(notebook[0].page[1].bytes);
    return 0;
}
