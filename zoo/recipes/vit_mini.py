"""Vision transformers on Fashion-MNIST at 16x16 over width and learning rate.

32 networks: 4 widths x 4 learning rates x 2 seeds on 5,000 training images, 4 blocks,
patches of 4x4, 30 epochs of AdamW in batches of 32, cosine decay.
"""

from zoo.recipe import Axis, Recipe

vit_mini = Recipe(
    name="vit_mini",
    summary="Fashion-MNIST 16x16 ViT; load = width, temperature = learning rate",
    paper="network and load of arXiv:2504.18072; grid chosen here",
    cost="about 8 min on two cores (862 processor-seconds)",
    task="fashion_mnist_16",
    architecture="vit",
    load=Axis("width", (8, 16, 32, 64)),
    temperature=Axis("lr", (0.0003, 0.001, 0.003, 0.01)),
    seeds=range(2),
    epochs=30,
    checkpoints=(0.0, 0.05, 0.1, 0.25, 0.5, 1.0),
    settings={
        "optimizer": "adamw",
        "batch_size": 32,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "train_samples": 5000,
        "subset_seed": 0,
    },
)
