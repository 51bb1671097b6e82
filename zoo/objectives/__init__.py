"""What networks minimise: one file each, one line here."""

from zoo.objectives.classification import classification as classification
from zoo.objectives.convection import convection as convection
from zoo.objectives.language import language as language
