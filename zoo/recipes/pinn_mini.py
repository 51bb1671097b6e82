"""Physics-informed MLPs of 1-D convection: a small version of `pinn_convection`.

48 networks: 6 betas x 4 learning rates x 2 seeds, 4 hidden layers of 32 tanh units, 6,000
steps of Adam on 128 points, 6 checkpoints each. Training fails above some beta, which is
larger for higher learning rates: the best rate fits beta = 20, and no rate a larger beta.
"""

from zoo.recipe import Axis, Recipe

pinn_mini = Recipe(
    name="pinn_mini",
    summary="PINNs of 1-D convection; load = beta, temperature = learning rate",
    paper="axes of arXiv:2504.18072; grid chosen here",
    cost="under 2 min on two cores (157 processor-seconds)",
    task="convection",
    architecture="mlp",
    width=32,
    load=Axis("beta", (1, 5, 10, 20, 30, 40)),
    temperature=Axis("lr", (3e-4, 1e-3, 3e-3, 1e-2)),
    seeds=range(2),
    steps=6_000,
    checkpoints=(0.0, 0.05, 0.1, 0.25, 0.5, 1.0),
    settings={"optimizer": "adam", "schedule": "constant", "batch_size": 128},
    options={"depth": 4, "activation": "tanh"},
)
