"""ResNet-18 on Fashion-MNIST at 16x16 over width and learning rate.

32 networks: 4 widths x 4 learning rates x 2 seeds on 3,000 training images, 20 epochs of
SGD with momentum in batches of 32, cosine decay. The temperature is the learning rate, not
the batch size of the full zoos, so that the networks of a width train as one stack.
"""

from zoo.recipe import Axis, Recipe

resnet18_mini = Recipe(
    name="resnet18_mini",
    summary="Fashion-MNIST 16x16 ResNet-18; load = width, temperature = learning rate",
    paper="network and load of arXiv:2504.18072; grid chosen here",
    cost="about 10 min on two cores (1,212 processor-seconds)",
    task="fashion_mnist_16",
    architecture="resnet18",
    load=Axis("width", (2, 4, 8, 16)),
    temperature=Axis("lr", (0.001, 0.01, 0.05, 0.2)),
    seeds=range(2),
    epochs=20,
    checkpoints=(0.0, 0.05, 0.1, 0.25, 0.5, 1.0),
    settings={
        "batch_size": 32,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": "cosine",
        "train_samples": 3000,
        "subset_seed": 0,
    },
)
