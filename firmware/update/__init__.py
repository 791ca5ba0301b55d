"""How a box is updated, paired, backed up and looked into from a laptop."""
