"""Multitrack data sets of others, each read where it lies: one small type for all, no audio until it is asked for."""
