"""Boards as data: what a computer and its sound card offer."""
