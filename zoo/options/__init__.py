"""Optimisers, schedules, augmentations and transforms, which recipes choose by name.

The loops that use them are in `zoo.engine`.
"""
