"""Networks made from trained networks: alignment, averages, soups, repair.

The columns that are stored about them are defined in `zoo.metrics`.
"""
