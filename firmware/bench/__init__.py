"""Speed of the whole mixer."""
