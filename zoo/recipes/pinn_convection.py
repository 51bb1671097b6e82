"""Physics-informed MLPs over the convection coefficient and the learning rate.

700 networks, as in the published phase zoos, whose grid is not published. Chosen here: 14
betas x 10 learning rates x 5 seeds, 4 hidden layers of 50 tanh units (arXiv:2109.01050),
20,000 steps of Adam on 128 points. All networks have the same compute shape, so a stack can
hold as many as the memory allows.
"""

from zoo.recipe import Axis, Recipe

pinn_convection = Recipe(
    name="pinn_convection",
    summary="PINNs of 1-D convection; load = beta, temperature = learning rate",
    paper="arXiv:2504.18072; grid not published, chosen here",
    cost="about 2 hours on two cores, extrapolated from pinn_mini",
    task="convection",
    architecture="mlp",
    width=50,
    load=Axis("beta", (1, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60)),
    temperature=Axis("lr", (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)),
    seeds=range(5),
    steps=20_000,
    checkpoints=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0),
    settings={"optimizer": "adam", "schedule": "constant", "batch_size": 128},
    options={"depth": 4, "activation": "tanh"},
)
