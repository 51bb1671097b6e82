"""ResNet-18 on SVHN over width and batch size, as in the phase zoos.

192 networks with the settings of `resnet18_cifar10`, but without flips. The phases were
published at epoch 135.
"""

from dataclasses import replace

from zoo.recipes.resnet18_cifar10 import resnet18_cifar10

resnet18_svhn = replace(
    resnet18_cifar10,
    name="resnet18_svhn",
    summary="SVHN ResNet-18; load = width, temperature = batch size",
    cost="not measured here; about 1.5 times resnet18_cifar10",
    task="svhn",
    settings={**resnet18_cifar10.settings, "augment": "crop_rotate"},
)
