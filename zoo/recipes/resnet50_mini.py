"""ResNet-50 on Fashion-MNIST at 16x16 over width and learning rate.

18 networks: 3 widths x 3 learning rates x 2 seeds on 3,000 training images, 10 epochs of
SGD with momentum in batches of 32, cosine decay.
"""

from zoo.recipe import Axis, Recipe

resnet50_mini = Recipe(
    name="resnet50_mini",
    summary="Fashion-MNIST 16x16 ResNet-50; load = width, temperature = learning rate",
    paper="network and load of arXiv:2504.18072; grid chosen here",
    cost="about 6 min on two cores (718 processor-seconds)",
    task="fashion_mnist_16",
    architecture="resnet50",
    load=Axis("width", (2, 4, 8)),
    temperature=Axis("lr", (0.001, 0.01, 0.1)),
    seeds=range(2),
    epochs=10,
    checkpoints=(0.0, 0.1, 0.25, 0.5, 1.0),
    settings={
        "batch_size": 32,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": "cosine",
        "train_samples": 3000,
        "subset_seed": 0,
    },
)
