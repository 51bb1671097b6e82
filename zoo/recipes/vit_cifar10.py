"""Vision transformers on CIFAR-10 over width and batch size, as in the phase zoos.

147 networks: 7 widths x 7 batch sizes x 3 seeds, 300 epochs, learning rate 0.006, weight
decay 5e-4. The paper gives widths from 6 to 192, but not all seven, nor the optimiser, the
schedule, heads, depth and augmentation. Chosen here are 144 as the seventh width, AdamW,
one cycle, 3 heads, 6 blocks, patches of 4x4, crops and flips. The published test accuracy
at width 192 is 77 to 79 % for batches of at least 128; with smaller batches training fails.
"""

from zoo.recipe import Axis, Recipe

vit_cifar10 = Recipe(
    name="vit_cifar10",
    summary="CIFAR-10 ViT; load = width, temperature = batch size",
    paper="arXiv:2504.18072; grid partly published, completed here",
    cost="not measured here; the longest of its runs are 1.7 M steps",
    task="cifar10",
    architecture="vit",
    load=Axis("width", (6, 12, 24, 48, 96, 144, 192)),
    temperature=Axis("batch_size", (8, 16, 32, 64, 128, 256, 512)),
    seeds=range(3),
    epochs=300,
    checkpoints=tuple(e / 300 for e in (0, 1, 2, 5, 10, 20, 50, 100, 150, 200, 250, 300)),
    settings={
        "optimizer": "adamw",
        "lr": 0.006,
        "weight_decay": 5e-4,
        "schedule": "one_cycle",
        "augment": "crop_flip",
    },
    options={"depth": 6, "heads": 3, "patch": 4},
)
