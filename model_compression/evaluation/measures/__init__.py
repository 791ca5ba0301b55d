"""What is measured, each with a known-answer test."""
