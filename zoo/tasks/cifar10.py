"""CIFAR-10: 50,000 + 10,000 colour images of 32x32."""

from zoo.task import Hub, Task

cifar10 = Task(
    "cifar10",
    "CIFAR-10",
    (3, 32, 32),
    10,
    5_000,
    hub=Hub("uoft-cs/cifar10", image="img"),
)
