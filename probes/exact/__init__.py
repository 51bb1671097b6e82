"""Exact solvers: what ridge regression on weights needs, layer by layer."""
