"""CIFAR-100: 50,000 + 10,000 colour images of 32x32, fine labels."""

from zoo.task import Hub, Task

cifar100 = Task(
    "cifar100",
    "CIFAR-100",
    (3, 32, 32),
    100,
    5_000,
    hub=Hub("uoft-cs/cifar100", image="img", label="fine_label"),
)
