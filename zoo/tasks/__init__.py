"""Data sets: one file each, one line here."""

from zoo.tasks.cifar10 import cifar10 as cifar10
from zoo.tasks.cifar10_jpeg import cifar10_jpeg as cifar10_jpeg
from zoo.tasks.digits import digits as digits
from zoo.tasks.fashion_mnist import fashion_mnist as fashion_mnist
from zoo.tasks.mnist import mnist as mnist
from zoo.tasks.usps import usps as usps
