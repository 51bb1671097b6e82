"""Stacks of networks that train and are evaluated together in one process.

Processes, commits and resumption live in `zoo.training`.
"""
