"""Tests of the laptop command."""
