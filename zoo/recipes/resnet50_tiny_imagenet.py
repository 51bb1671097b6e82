"""ResNet-50 on TinyImageNet over width and batch size, as in the phase zoos.

192 networks with the settings of `resnet50_cifar10`, but 100 epochs. The phases were
published at epoch 100.
"""

from dataclasses import replace

from zoo.recipes.resnet50_cifar10 import resnet50_cifar10

resnet50_tiny_imagenet = replace(
    resnet50_cifar10,
    name="resnet50_tiny_imagenet",
    summary="TinyImageNet ResNet-50; load = width, temperature = batch size",
    cost="not measured here; about 5 times resnet50_cifar10",
    task="tiny_imagenet",
    epochs=100,
    checkpoints=tuple(e / 100 for e in (0, 1, 2, 5, 10, 20, 40, 60, 80, 90, 100)),
)
