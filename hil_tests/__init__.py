"""The box as a black box: tests through its commands, its network and its sound."""
