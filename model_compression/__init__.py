"""From recordings to a small int8 model that the box can run."""
