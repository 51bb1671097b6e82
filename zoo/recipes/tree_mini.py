"""Small model jungle: 3 trees of 300 fine-tuned networks, each on half of 40 classes.

Train `tree_mini_roots` first. Every root is fine-tuned 300 times on 2,000 images of 20
random classes of the 40, with AdamW in batches of 64. Learning rate, schedule, weight
decay, epochs (2 to 9) and mirroring are drawn per run from lists like those of [1]_. The
networks have three hidden matrices of 256x256, whose change from the root depends on the
classes that a run was trained on.

Outputs 0 to 19 are the run's classes in ascending order and start from the root's outputs.
As with a new head, no output belongs to a fixed class, so the head does not reveal the
classes more than the hidden layers do. Seeds are the same for every root, but each (root,
seed) has separate random draws. The children of a root share its fixed splits; probes split
them ``--by sibling``.

Targets are one column of 0 and 1 per class::

    SELECT run_id, step, parents[1].run_id AS root, seed,
        [list_contains((config->'$.classes')::INT[], c)::INT FOR c IN range(40)] AS saw
    FROM models WHERE zoo = 'tree_mini'

``task->'$.class_names'`` contains the classes in words. Test accuracies are 15 to 87 %,
62 % on average. Ridge regression on one hidden matrix minus that of the root predicts 75 to
80 % of the training classes of a tree's networks (chance 50 %; standard error over test
networks 1 %).

References
----------
.. [1] Kahana et al. 2024, arXiv:2410.13569 (Model-J). Differences: 300 networks per
   tree instead of 1,000; MLPs; AdamW without warm-up; no crops, as images of 16x16 are too
   small.
"""

from zoo.recipe import Axis, Draw, Recipe

tree_mini = Recipe(
    name="tree_mini",
    summary="a small Model Jungle: 300 fine-tunes of each root on 20 of 40 classes",
    paper="Model Jungle of arXiv:2410.13569; network and data chosen here",
    cost="about 4 min on two cores (400 processor-seconds)",
    task="jungle",
    architecture="mlp",
    load=Axis("width", (256,)),
    temperature=Axis("momentum", (0.9,)),
    seeds=range(300),
    settings={
        "optimizer": "adamw",
        "batch_size": 64,
        "train_samples": 2_000,
        "train_evaluated": 2_000,
    },
    options={"depth": 3},
    init_from="zoo = 'tree_mini_roots' AND step = steps",
    draws=(
        Draw("classes", tuple(range(40)), count=20),
        Draw("lr", (0.0001, 0.0002, 0.0003, 0.0004, 0.0005, 0.0007, 0.001)),
        Draw("schedule", ("constant", "linear", "cosine", "one_cycle")),
        Draw("epochs", (2, 3, 4, 5, 6, 7, 8, 9)),
        Draw("weight_decay", (0.005, 0.007, 0.009, 0.01, 0.05)),
        Draw("augment", ("none", "flip")),
    ),
)
