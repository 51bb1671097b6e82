"""Commands `measure` and `downstream`: planning, distribution and storing of results.

Metrics are in `zoo.metrics`, worker processes in `zoo.workers`.
"""
