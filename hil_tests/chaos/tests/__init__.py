"""Tests of chaos that need no box."""
