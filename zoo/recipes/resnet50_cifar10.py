"""ResNet-50 on CIFAR-10 over width and batch size, as in the phase zoos.

192 networks with the settings of `resnet18_cifar10`. The phases were published at epoch
125, with test accuracies of 64 to 92 % at the end. Some published runs accumulated
gradients, which changed their batch size, schedule and loss; here accumulation does not.
"""

from dataclasses import replace

from zoo.recipes.resnet18_cifar10 import resnet18_cifar10

resnet50_cifar10 = replace(
    resnet18_cifar10,
    name="resnet50_cifar10",
    summary="CIFAR-10 ResNet-50; load = width, temperature = batch size",
    cost="not measured here; about 2 to 3 times resnet18_cifar10",
    architecture="resnet50",
    checkpoints=tuple(e / 150 for e in (0, 1, 2, 5, 10, 20, 40, 70, 100, 125, 150)),
)
