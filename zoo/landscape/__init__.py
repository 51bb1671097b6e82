"""Quantities of the loss landscape, computed on stacks of networks.

Which of them are stored, and under which names, is decided in `zoo.metrics`.
"""
