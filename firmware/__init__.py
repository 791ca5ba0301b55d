"""What runs on the box."""
