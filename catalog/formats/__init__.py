"""Foreign populations that can be read without torch."""
