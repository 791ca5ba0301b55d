"""Mixes to beat: nine published or obvious ways, and the truth."""
