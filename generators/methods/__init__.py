"""Methods that learn to make weights."""

from generators.methods.deepweightflow import DeepWeightFlow as DeepWeightFlow
