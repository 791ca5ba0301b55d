"""Promises of the serial link."""
