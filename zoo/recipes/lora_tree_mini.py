"""LoRA adapters that each detect one named class: 30 classes, 20 seeds per class.

Train `lora_tree_mini_root` first. The hidden layers of the root are frozen. Adapters of
rank 8 and a new output layer learn to distinguish one class (a handwritten digit, a piece
of clothing, an object of grey CIFAR-10) from as many images of all other classes. The
optimiser is AdamW; learning rate, schedule, epochs and weight decay are drawn per run.

The column ``class_name`` is the class in words. ``split_by_class`` (a hash of the name, as
all fixed splits) holds out classes, for tests on networks of classes that no training
network has::

    SELECT run_id, step, class_name FROM models
    WHERE zoo = 'lora_tree_mini' AND split_by_class = 'test'

Test accuracies are 85 to 99 % (chance 50 %), 94 % on average. The products of the factors
are similar for networks of one class (cosine .4), and more similar for related classes (cat
and dog, automobile and truck, sandal and sneaker) than for others.
"""

from zoo.recipe import Axis, Draw, Recipe

lora_tree_mini = Recipe(
    name="lora_tree_mini",
    summary="LoRA adapters of one root, each for one named class against the rest",
    paper="SD_200 of Model-J, arXiv:2410.13569; network, task and data chosen here",
    cost="about 1 min on two cores (60 processor-seconds)",
    task="jungle",
    architecture="lora_mlp",
    load=Axis("width", (128,)),
    temperature=Axis("one_vs_rest", tuple(range(30))),
    seeds=range(20),
    settings={"optimizer": "adamw", "batch_size": 50, "train_samples": 900},
    options={"rank": 8},
    init_from="zoo = 'lora_tree_mini_root' AND step = steps",
    draws=(
        Draw("lr", (0.0005, 0.0007, 0.001, 0.0015, 0.002)),
        Draw("schedule", ("constant", "linear", "cosine", "one_cycle")),
        Draw("epochs", (4, 6, 8, 10)),
        Draw("weight_decay", (0.005, 0.01, 0.05)),
    ),
)
