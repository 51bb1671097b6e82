"""GPT-2 style decoders on OpenWebText over width and batch size.

264 networks, as in the published phase zoos, whose grid is not published. Chosen here: 11
widths x 8 batch sizes x 3 seeds, 6 blocks, 4 heads, 20,000 steps of AdamW with one cycle.
The data are windows of 256 bytes, in place of GPT-2's tokens, of the first 1 % of the
documents.
"""

from zoo.recipe import Axis, Recipe

gpt_openwebtext = Recipe(
    name="gpt_openwebtext",
    summary="OpenWebText GPT-2, bytes; load = width, temperature = batch size",
    paper="arXiv:2504.18072; grid not published, chosen here",
    cost="not measured here; 5.3 M steps in all",
    task="openwebtext",
    architecture="gpt",
    load=Axis("width", (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)),
    temperature=Axis("batch_size", (4, 8, 16, 32, 64, 128, 256, 512)),
    seeds=range(3),
    steps=20_000,
    checkpoints=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0),
    settings={
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.1,
        "schedule": "one_cycle",
    },
    options={"depth": 6, "heads": 4},
)
