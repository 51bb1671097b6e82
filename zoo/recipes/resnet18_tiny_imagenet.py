"""ResNet-18 on TinyImageNet over width and batch size, as in the phase zoos.

192 networks with the settings of `resnet18_cifar10`, but 100 epochs. The phases were
published at epoch 90. The published test accuracies are 26 to 70 %, but the same numbers
are printed for two zoos.
"""

from dataclasses import replace

from zoo.recipes.resnet18_cifar10 import resnet18_cifar10

resnet18_tiny_imagenet = replace(
    resnet18_cifar10,
    name="resnet18_tiny_imagenet",
    summary="TinyImageNet ResNet-18; load = width, temperature = batch size",
    cost="not measured here; about 5 times resnet18_cifar10",
    task="tiny_imagenet",
    epochs=100,
    checkpoints=tuple(e / 100 for e in (0, 1, 2, 5, 10, 20, 40, 60, 80, 90, 100)),
)
