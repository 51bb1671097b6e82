"""The verb `train`: workers, memory, results, and commits of what is finished.

The training loop itself is `zoo.engine.train_stack`.
"""
