"""Shared parts of probes that are trained by gradient descent."""
