"""Data sets: one module and one import line per task."""

from catalog.plugins.registry import Registry
from zoo.task import Task
from zoo.tasks.cifar10 import cifar10 as cifar10
from zoo.tasks.cifar10_jpeg import cifar10_jpeg as cifar10_jpeg
from zoo.tasks.cifar100 import cifar100 as cifar100
from zoo.tasks.convection import convection as convection
from zoo.tasks.digits import digits as digits
from zoo.tasks.fashion_mnist import fashion_mnist as fashion_mnist
from zoo.tasks.fashion_mnist_16 import fashion_mnist_16 as fashion_mnist_16
from zoo.tasks.jungle import jungle as jungle
from zoo.tasks.mnist import mnist as mnist
from zoo.tasks.openwebtext import openwebtext as openwebtext
from zoo.tasks.svhn import svhn as svhn
from zoo.tasks.text import text as text
from zoo.tasks.tiny_imagenet import tiny_imagenet as tiny_imagenet
from zoo.tasks.usps import usps as usps

TASKS: Registry[Task] = Registry("task", Task, __name__)


def task_named(name: str) -> Task:
    """Return a task by name.

    Raises
    ------
    NotFound
        If there is no task of that name; the error lists the closest names.
    """
    return TASKS[name]
