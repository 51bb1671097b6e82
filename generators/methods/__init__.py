"""Generators that learn from a population of networks."""

from catalog.plugins.registry import Registry
from generators.generator import Generator
from generators.methods.deepweightflow import DeepWeightFlow as DeepWeightFlow

METHODS: Registry[type[Generator]] = Registry("generator", Generator, __name__)
