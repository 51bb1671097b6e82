"""Learning from weights; nothing yet."""
