"""Three small networks, each with two faces: whole sequences to train on, one tick with explicit state to ship."""
