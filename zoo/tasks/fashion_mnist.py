"""Fashion-MNIST: 60,000 + 10,000 images of 28x28."""

from zoo.task import Hub, Task

fashion_mnist = Task(
    "fashion_mnist",
    "Fashion-MNIST",
    (1, 28, 28),
    10,
    5_000,
    hub=Hub("zalando-datasets/fashion_mnist"),
)
