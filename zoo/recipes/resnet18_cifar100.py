"""ResNet-18 on CIFAR-100 over width and batch size, as in the phase zoos.

192 networks with the settings of `resnet18_cifar10`. The phases were published at epoch
115, with test accuracies of 23 to 66 %.
"""

from dataclasses import replace

from zoo.recipes.resnet18_cifar10 import resnet18_cifar10

resnet18_cifar100 = replace(
    resnet18_cifar10,
    name="resnet18_cifar100",
    summary="CIFAR-100 ResNet-18; load = width, temperature = batch size",
    cost="not measured here; as resnet18_cifar10",
    task="cifar100",
)
