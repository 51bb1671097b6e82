"""Readers of foreign populations that need torch, such as pickled state dicts."""
