"""Roots of the small model jungle: the three networks that `tree_mini` starts from.

The roots are MLPs of 256-256-256-256-20 with different initialisations. Each is trained on
20 of the 40 classes of the pooled task, drawn with its seed. Training takes 10 epochs of
AdamW on about 10,000 images in batches of 64, with cosine decay. Test accuracies are 82 to
92 %.
"""

from zoo.recipe import Axis, Draw, Recipe

tree_mini_roots = Recipe(
    name="tree_mini_roots",
    summary="three roots of tree_mini: MLPs on random halves of 40 classes",
    paper="roots of a Model Jungle, arXiv:2410.13569; network and data chosen here",
    cost="17 s on one core, half of it decoding the images",
    task="jungle",
    architecture="mlp",
    load=Axis("width", (256,)),
    temperature=Axis("lr", (0.001,)),
    seeds=range(3),
    epochs=10,
    settings={
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "batch_size": 64,
        "schedule": "cosine",
    },
    options={"depth": 3},
    draws=(Draw("classes", tuple(range(40)), count=20),),
)
