"""ResNet-18 on CIFAR-10 over width and batch size, as in the phase zoos.

192 networks: 8 widths x 8 batch sizes x 3 seeds, 150 epochs of SGD (learning rate 0.1
for all batch sizes, momentum 0.9, weight decay 5e-4, one cycle), random crops, flips and
rotations. There are checkpoints at 12 epochs, including 115, at which the phases were
published. The published test accuracies are 65 to 91 %.

This recipe differs from the published zoo: 5,000 samples are cut from the training data for
validation, cells do not share initialisations, and momentum is not cycled.
"""

from zoo.recipe import Axis, Recipe

resnet18_cifar10 = Recipe(
    name="resnet18_cifar10",
    summary="CIFAR-10 ResNet-18; load = width, temperature = batch size",
    paper="arXiv:2504.18072, grid as published",
    cost="published: about 6 days on 8 GPUs; not measured here",
    task="cifar10",
    architecture="resnet18",
    load=Axis("width", (2, 4, 8, 16, 32, 64, 128, 256)),
    temperature=Axis("batch_size", (8, 16, 32, 64, 128, 256, 512, 1024)),
    seeds=range(3),
    epochs=150,
    checkpoints=tuple(e / 150 for e in (0, 1, 2, 5, 10, 20, 40, 70, 100, 115, 135, 150)),
    settings={
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "one_cycle",
        "augment": "crop_flip_rotate",
    },
)
