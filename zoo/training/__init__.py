"""Command `train`: worker processes, memory, results and commits of finished runs.

The training loop itself is `zoo.engine.train_stack`.
"""
