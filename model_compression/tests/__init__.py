"""Tests of the model command."""
