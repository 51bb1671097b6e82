"""Fashion-MNIST CNNs over width and learning rate.

144 networks: 6 widths x 6 learning rates x 4 seeds of the small CNN (width 8 has 2,464
parameters) on 1,000 training images, 4 % of their labels wrong, SGD with momentum, batches
of 32, 80 epochs with cosine decay, 6 checkpoints each.

All seeds share the images, but their wrong labels differ. On all 55,000 images no network
of this size comes near interpolation, so phases III and IV cannot occur.
"""

from zoo.recipe import Axis, Recipe

fashion_mnist_cnn_phases = Recipe(
    name="fashion_mnist_cnn_phases",
    summary="Fashion-MNIST small CNNs; load = width, temperature = learning rate",
    paper="network of arXiv:2209.14764, axes after arXiv:2107.11228; grid chosen here",
    cost="about 14 min on two cores (1,640 processor-seconds)",
    task="fashion_mnist",
    architecture="cnn_small",
    load=Axis("width", (2, 4, 8, 16, 24, 32)),
    temperature=Axis("lr", (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)),
    seeds=range(4),
    epochs=80,
    checkpoints=(0.0, 0.05, 0.1, 0.25, 0.5, 1.0),
    settings={
        "batch_size": 32,
        "momentum": 0.9,
        "schedule": "cosine",
        "train_samples": 1_000,
        "subset_seed": 0,
        "label_noise": 0.04,
    },
)
