"""Fitted things as files: one container with a version, a kind and a digest.

What is fitted (probes, generators, canonicalisers) lives in its own package.
"""
