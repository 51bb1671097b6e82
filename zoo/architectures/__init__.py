"""Network families: one module and one import line per family."""

from catalog.plugins.registry import Registry
from zoo.architecture import Architecture
from zoo.architectures.cnn_small import CNNSmall as CNNSmall
from zoo.architectures.gpt import GPT as GPT
from zoo.architectures.lora_mlp import LoRAMLP as LoRAMLP
from zoo.architectures.mlp import MLP as MLP
from zoo.architectures.resnet import ResNet18 as ResNet18
from zoo.architectures.resnet import ResNet50 as ResNet50
from zoo.architectures.vit import ViT as ViT

ARCHITECTURES: Registry[type[Architecture]] = Registry(
    "architecture", Architecture, __name__
)
