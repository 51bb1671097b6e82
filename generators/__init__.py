"""Generators of network weights, and the judgement of their accuracy and novelty."""
