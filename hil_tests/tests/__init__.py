"""Tests of the bench itself: rigs, plug-in, report, and how a box is put together from its units."""
