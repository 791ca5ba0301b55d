"""Promises of the box."""
