"""MNIST CNNs over width and learning rate.

144 networks: 6 widths x 6 learning rates x 4 seeds of the small CNN (width 8 has 2,464
parameters), SGD with momentum, batches of 32, cosine decay over 5 epochs, 6 checkpoints
each. The training loss is evaluated on 10,000 of 55,000 training samples.
"""

from zoo.recipe import Axis, Recipe

mnist_cnn_phases = Recipe(
    name="mnist_cnn_phases",
    summary="MNIST small CNNs; load = width, temperature = learning rate",
    paper="network of arXiv:2209.14764, axes after arXiv:2107.11228; grid chosen here",
    cost="about 19 min on two cores (estimated from Fashion-MNIST)",
    task="mnist",
    architecture="cnn_small",
    load=Axis("width", (2, 4, 6, 8, 12, 16)),
    temperature=Axis("lr", (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)),
    seeds=range(4),
    epochs=5,
    checkpoints=(0.0, 0.05, 0.1, 0.2, 0.5, 1.0),
    settings={"batch_size": 32, "momentum": 0.9, "schedule": "cosine"},
)
