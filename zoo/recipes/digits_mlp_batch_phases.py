"""Digits MLPs over width and batch size, the temperature of the published phase zoos.

224 networks: 8 widths x 7 batch sizes x 4 seeds, two hidden layers, SGD with momentum
at one learning rate, 40 epochs for all batch sizes, 6 checkpoints each.
"""

from zoo.recipe import Axis, Recipe

digits_mlp_batch_phases = Recipe(
    name="digits_mlp_batch_phases",
    summary="digits MLPs; load = width, temperature = batch size",
    paper="axes of arXiv:2504.18072; grid chosen here",
    cost="23 s on two cores, start-up included",
    task="digits",
    architecture="mlp",
    load=Axis("width", (2, 3, 4, 6, 8, 16, 32, 64)),
    temperature=Axis("batch_size", (4, 8, 16, 32, 64, 128, 256)),
    seeds=range(4),
    epochs=40,
    checkpoints=(0.0, 0.05, 0.1, 0.25, 0.5, 1.0),
    settings={"lr": 0.03, "momentum": 0.9, "schedule": "constant"},
)
