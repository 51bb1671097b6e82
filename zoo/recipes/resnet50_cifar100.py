"""ResNet-50 on CIFAR-100 over width and batch size, as in the phase zoos.

192 networks with the settings of `resnet50_cifar10`. The published test accuracy is
57 +- 11 %, including failed runs of 1 %; here failed runs are flagged.
"""

from dataclasses import replace

from zoo.recipes.resnet50_cifar10 import resnet50_cifar10

resnet50_cifar100 = replace(
    resnet50_cifar10,
    name="resnet50_cifar100",
    summary="CIFAR-100 ResNet-50; load = width, temperature = batch size",
    cost="not measured here; as resnet50_cifar10",
    task="cifar100",
)
