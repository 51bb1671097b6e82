"""Making weights; nothing yet."""
