"""Decides: hears what the engine shows, moves the parameters, says why."""
