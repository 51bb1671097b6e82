"""Training objectives: one module and one import line per objective."""

from catalog.plugins.registry import Registry
from zoo.objective import Objective
from zoo.objectives.classification import classification as classification
from zoo.objectives.convection import convection as convection
from zoo.objectives.language import language as language

OBJECTIVES: Registry[Objective] = Registry("objective", Objective, __name__)
