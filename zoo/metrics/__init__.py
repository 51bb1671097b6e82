"""Measured properties: one file each, one line here."""

from zoo.metrics.scores import scores as scores
