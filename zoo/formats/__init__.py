"""Foreign populations that need torch to be read: pickles."""
