"""Multitrack sessions with known truth: written, performed and recorded by programs, or loaded from data sets."""
