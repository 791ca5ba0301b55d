"""Recording: all inputs and the mix to disk, by a process that cannot hold up the audio."""
