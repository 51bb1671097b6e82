"""Ten thousand digits MLPs that differ only in their seed.

MLP 64-32-32-10 (3,466 parameters), AdamW, learning rate 0.003 with linear decay, weight
decay 0.01, 1,500 steps of 32 samples, 4 checkpoints each. The zoo is a cohort for
generators, alignment and probes. The expected test accuracy is about 97 %.
"""

from zoo.recipe import Axis, Recipe

digits_mlp_seeds = Recipe(
    name="digits_mlp_seeds",
    summary="10,000 digits MLPs of one cell, seeds only",
    paper="one cell, after the seed cohorts of arXiv:2209.14764",
    cost="173 s on two cores, start-up included",
    task="digits",
    architecture="mlp",
    load=Axis("width", (32,)),
    temperature=Axis("lr", (0.003,)),
    seeds=range(10_000),
    steps=1_500,
    checkpoints=(0.1, 0.3, 0.6, 1.0),
    settings={
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "batch_size": 32,
        "schedule": "linear",
    },
)
