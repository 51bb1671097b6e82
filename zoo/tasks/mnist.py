"""MNIST: 60,000 + 10,000 images of 28x28."""

from zoo.task import Hub, Task

mnist = Task("mnist", "MNIST", (1, 28, 28), 10, 5_000, hub=Hub("ylecun/mnist"))
