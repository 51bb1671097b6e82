"""Measured properties: one file each, one line here."""

from zoo.metrics.cka import cka as cka
from zoo.metrics.mode_connectivity import mode_connectivity as mode_connectivity
from zoo.metrics.weight_distance import weight_distance as weight_distance
