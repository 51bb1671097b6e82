"""Optimizers, schedules, augmentations: what a recipe chooses by name.

Loops that use them live in `zoo.engine`.
"""
