"""Chaos: faults of every kind at random moments of a simulated show, the promises checked in each frame of it."""
