"""Files of fitted objects: one container format with a version, a kind and a digest.

The fitted objects themselves (probes, generators, canonicalisers) live in other packages.
"""
