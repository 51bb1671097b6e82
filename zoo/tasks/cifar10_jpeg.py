"""Lossy JPEG copy of CIFAR-10; results on the copy are not results on CIFAR-10."""

from zoo.task import Task

cifar10_jpeg = Task("cifar10_jpeg", "CIFAR-10, JPEG copy", (3, 32, 32), 10, 5_000)
