"""Coordinates of networks: canonical units, exact principal components, whitening."""
