"""MNIST CNNs that differ only in their seed.

2,500 networks: the small CNN at width 8 (2,464 parameters), AdamW, learning rate 0.003 with
linear decay, weight decay 0.01, 1,000 steps of 16 samples. The zoo is a cohort for
generators and for alignment of convolutions. 2,100 of the networks had a mean validation
accuracy of 92.6 % (standard deviation 4.8 points).
"""

from zoo.recipe import Axis, Recipe

mnist_cnn_seeds = Recipe(
    name="mnist_cnn_seeds",
    summary="2,500 MNIST small CNNs of one cell, seeds only",
    paper="network of arXiv:2209.14764, whose seed cohorts it follows",
    cost="about 25 min on two cores",
    task="mnist",
    architecture="cnn_small",
    load=Axis("width", (8,)),
    temperature=Axis("lr", (0.003,)),
    seeds=range(2_500),
    steps=1_000,
    checkpoints=(1.0,),
    settings={
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "batch_size": 16,
        "schedule": "linear",
        "train_evaluated": 1_000,
    },
)
