"""Codes of networks: canonical units, exact principal components and whitening."""
