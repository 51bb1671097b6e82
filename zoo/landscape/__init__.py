"""Quantities of the loss landscape, computed on stacks of networks.

`zoo.metrics` decides which of the quantities are stored, and under which names.
"""
