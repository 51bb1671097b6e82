"""GPT-2 style decoders on the bytes of any text over width and learning rate.

32 networks: 4 widths x 4 learning rates x 2 seeds, 2 blocks, 4 heads, windows of 64 bytes,
1,500 steps of AdamW in batches of 8 with cosine decay, on the text of ``--text FILE``.
Losses are in nats per byte.
"""

from zoo.recipe import Axis, Recipe

gpt_mini = Recipe(
    name="gpt_mini",
    summary="any text, bytes, GPT; load = width, temperature = learning rate",
    paper="network and load of arXiv:2504.18072; grid chosen here",
    cost="about 9 min on two cores (1,050 processor-seconds)",
    task="text",
    architecture="gpt",
    load=Axis("width", (8, 16, 32, 64)),
    temperature=Axis("lr", (0.0003, 0.001, 0.003, 0.01)),
    seeds=range(2),
    steps=1_500,
    checkpoints=(0.0, 0.05, 0.1, 0.25, 0.5, 1.0),
    settings={
        "optimizer": "adamw",
        "batch_size": 8,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "train_evaluated": 2000,
    },
    options={"depth": 2, "heads": 4},
)
