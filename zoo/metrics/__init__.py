"""Measured properties: one file each, one line here."""

from zoo.metrics.cka import cka as cka
from zoo.metrics.gradient_noise import gradient_noise as gradient_noise
from zoo.metrics.hessian import hessian as hessian
from zoo.metrics.mode_connectivity import mode_connectivity as mode_connectivity
from zoo.metrics.scores import scores as scores
from zoo.metrics.weight_distance import weight_distance as weight_distance
