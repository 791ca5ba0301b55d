"""Promises of the kernels."""
