"""Judgement of weights by accuracy and novelty together."""
