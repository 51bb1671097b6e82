"""Network families: one file each, one line here."""

from zoo.architectures.cnn_small import CNNSmall as CNNSmall
from zoo.architectures.mlp import MLP as MLP
