"""Layers of n independent networks at once: tensors have a leading network axis.

Weights are ``(n, *shape)``, activations ``(n, b, ...)``. All products are batched over
the network axis, so no network depends on another. Convolutional activations have the shape
``(n, b, c, h, w)`` but lie in memory as ``(n, c, h, w, b)``: elementwise passes, patches
and matrix rows are then long and contiguous. Activations of residual networks lie as
``(b, h, w, n, c)``, see `grouped_conv2d`; activations of transformers are ``(n, features,
positions)``. All functions take any strides.
"""

from zoo.stacked.attention import attention as attention
from zoo.stacked.batch_norm import batch_norm as batch_norm
from zoo.stacked.columns import linear_columns as linear_columns
from zoo.stacked.conv_pool import conv2d_max_pool2d as conv2d_max_pool2d
from zoo.stacked.convolution import conv2d as conv2d
from zoo.stacked.embedding import embedding as embedding
from zoo.stacked.grouped_convolution import grouped_conv2d as grouped_conv2d
from zoo.stacked.layer_norm import layer_norm as layer_norm
from zoo.stacked.linear import affine as affine
from zoo.stacked.loss import cross_entropy as cross_entropy
from zoo.stacked.pooling import max_pool2d as max_pool2d
from zoo.stacked.product import product as product
from zoo.stacked.relu import relu as relu
