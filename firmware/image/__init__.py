"""What a box boots from."""
