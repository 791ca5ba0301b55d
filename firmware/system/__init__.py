"""The machine around the mixer: cards, services, updates."""
