"""Null generators that learn nothing: a method is worth its improvement over them."""

from catalog.plugins.registry import Registry
from generators.generator import Generator
from generators.nulls.diagonal_gaussian import DiagonalGaussian as DiagonalGaussian
from generators.nulls.disguised import Disguised as Disguised
from generators.nulls.interpolation import Interpolation as Interpolation
from generators.nulls.pca_gaussian import PCAGaussian as PCAGaussian
from generators.nulls.retrieval import Retrieval as Retrieval
from generators.nulls.soup import Soup as Soup
from generators.nulls.train import Train as Train
from generators.nulls.train_noise import TrainNoise as TrainNoise

NULLS: Registry[type[Generator]] = Registry("null", Generator, __name__)
