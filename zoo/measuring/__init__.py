"""The verbs `measure` and `downstream`: plan, distribute, store.

Metrics live in `zoo.metrics`, processes in `zoo.workers`.
"""
