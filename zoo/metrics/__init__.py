"""Measured properties: one file each, one line here."""

from zoo.metrics.gradient_noise import gradient_noise as gradient_noise
from zoo.metrics.hessian import hessian as hessian
from zoo.metrics.scores import scores as scores
