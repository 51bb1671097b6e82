"""Root of `lora_tree_mini`: one MLP on all 40 classes.

The sizes are 256-128-128-40. Training takes 20 epochs of AdamW on 20,000 images in batches
of 64, with cosine decay. The expected test accuracy is about 75 %.
"""

from zoo.recipe import Axis, Recipe

lora_tree_mini_root = Recipe(
    name="lora_tree_mini_root",
    summary="the root of lora_tree_mini: an MLP on all 40 classes",
    paper="root of a tree of LoRA adapters, arXiv:2410.13569; chosen here",
    cost="40 s on two cores (25 processor-seconds)",
    task="jungle",
    architecture="mlp",
    load=Axis("width", (128,)),
    temperature=Axis("lr", (0.001,)),
    seeds=range(1),
    epochs=20,
    settings={
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "batch_size": 64,
        "schedule": "cosine",
    },
)
