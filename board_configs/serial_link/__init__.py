"""A reliable stream over a bad serial line, spoken by box and laptop alike."""
