"""Splits without leaks, scores, intervals: the one judge."""
