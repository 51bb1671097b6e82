"""Splits without leakage, scores and confidence intervals of predictions."""
