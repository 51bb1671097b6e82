"""Layers of n independent networks side by side: every tensor has a leading net axis.

Weights are ``(n, *shape)``, activations ``(n, b, ...)``. All products are batched over
the net axis, so a network never sees its neighbours. Convolutional activations have the
shape ``(n, b, c, h, w)`` but lie in memory as ``(n, c, h, w, b)``: elementwise passes,
patches and matrix rows are then long and contiguous. All functions take any strides.
"""

from zoo.stacked.conv_pool import conv2d_max_pool2d as conv2d_max_pool2d
from zoo.stacked.convolution import conv2d as conv2d
from zoo.stacked.linear import linear as linear
from zoo.stacked.loss import cross_entropy as cross_entropy
from zoo.stacked.pooling import max_pool2d as max_pool2d
from zoo.stacked.relu import relu as relu
