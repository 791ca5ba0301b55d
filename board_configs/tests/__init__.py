"""Promises of the boards."""
