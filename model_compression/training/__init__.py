"""Training and distilling the three networks from shards, the same weights from the same recipe."""
