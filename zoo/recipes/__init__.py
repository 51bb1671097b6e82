"""Recipes: one literal each, one line here."""

from zoo.recipes.digits_mlp_phases import digits_mlp_phases as digits_mlp_phases
