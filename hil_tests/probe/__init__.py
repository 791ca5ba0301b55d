"""Test signals whose answer is known, and the figures that played and recorded arrays give."""
