"""Judging weights: never an accuracy without novelty."""
