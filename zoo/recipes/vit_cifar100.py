"""Vision transformers on CIFAR-100 over width and batch size, as in the phase zoos.

147 networks with the settings of `vit_cifar10`.
"""

from dataclasses import replace

from zoo.recipes.vit_cifar10 import vit_cifar10

vit_cifar100 = replace(
    vit_cifar10,
    name="vit_cifar100",
    summary="CIFAR-100 ViT; load = width, temperature = batch size",
    cost="not measured here; as vit_cifar10",
    task="cifar100",
)
