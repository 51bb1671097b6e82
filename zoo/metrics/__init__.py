"""Measured properties: one file each, one line here."""

from zoo.metrics.mode_connectivity import mode_connectivity as mode_connectivity
