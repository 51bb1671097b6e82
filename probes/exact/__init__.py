"""Exact solvers for ridge regression on weights, layer by layer."""
