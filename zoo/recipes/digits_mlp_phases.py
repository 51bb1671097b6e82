"""Digits MLPs over width and learning rate: the phase-diverse zoo of `make demo`.

192 networks: 8 widths x 6 learning rates x 4 seeds, two hidden layers, SGD with momentum,
batches of 16, 3 % of the training labels wrong, 100 epochs with cosine decay, 7 checkpoints
each from initialisation to the end.

The ranges are chosen so that all five phases occur. The wrong labels differ between
seeds: networks that memorise them disagree (IV-A), while under annealing narrow networks
get stuck far from each other (I, III).
"""

from zoo.recipe import Axis, Recipe

digits_mlp_phases = Recipe(
    name="digits_mlp_phases",
    summary="digits MLPs; load = width, temperature = learning rate",
    paper="axes after Yang et al. 2021, arXiv:2107.11228; grid chosen here",
    cost="20 s on two cores, start-up included",
    task="digits",
    architecture="mlp",
    load=Axis("width", (2, 4, 6, 8, 12, 16, 32, 64)),
    temperature=Axis("lr", (0.001, 0.003, 0.01, 0.02, 0.03, 0.06)),
    seeds=range(4),
    epochs=100,
    checkpoints=(0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
    settings={
        "batch_size": 16,
        "momentum": 0.9,
        "label_noise": 0.03,
        "schedule": "cosine",
    },
)
