"""A small problem, the oracle (one network, plain torch), and a trained catalogue."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from catalog import CatalogError
from catalog.alignment import permute, random_permutations
from zoo.architectures import MLP, CNNSmall, ResNet18
from zoo.engine.stack import Stack, build_architecture
from zoo.engine.train_stack import Trained, train_stack
from zoo.networks import Networks
from zoo.options.schedule import schedule
from zoo.randomness import stream
from zoo.recipe import Axis, Recipe
from zoo.run import Run
from zoo.samples import view
from zoo.task import Data, Raw, Task, load_task, prepare
from zoo.tasks import TASKS

CPU = torch.device("cpu")
TRAIN = import_module("zoo.training.train")  # `zoo.training.train` is the function
SIDE, CLASSES = 20, 6


@pytest.fixture(scope="session", autouse=True)
def one_core(forked_workers: None) -> Iterator[None]:
    """Tests run side by side: two threads each would wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def blobs() -> Data:
    """240 training, 30 validation and 54 test images of six noisy patterns."""
    task = Task("blobs", "blobs", (1, SIDE, SIDE), CLASSES, validation=30)
    draw = np.random.default_rng(0)
    patterns = draw.integers(0, 160, (CLASSES, 1, SIDE, SIDE))
    labels = draw.permutation(324) % CLASSES
    images = patterns[labels] + draw.integers(0, 96, (324, 1, SIDE, SIDE))
    x, y = images.astype(np.uint8), labels.astype(np.int64)
    return prepare(task, Raw(x[:270], y[:270], x[270:], y[270:], 1 / 255))


@pytest.fixture(scope="session")
def digits() -> Data:
    return load_task(TASKS["digits"])


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """A short run of a small network on blobs; fields by keyword."""

    def make(network: str = "mlp", **fields: object) -> Run:
        classes = len(fields.get("classes") or range(CLASSES))
        shape = (1, SIDE, SIDE)
        architecture = {
            "mlp": MLP((SIDE * SIDE, 7, classes), "tanh"),
            "linear": MLP((SIDE * SIDE, classes)),
            "cnn": CNNSmall(3, shape, classes, "tanh"),
        }[network]
        run = Run("laws", "blobs", architecture.config(), 40, (0, 20, 40), lr=0.02)
        return replace(run, **{"batch_size": 8, **fields})

    return make


@pytest.fixture(scope="session")
def fit() -> Callable[..., Trained]:
    """Train runs as one stack."""

    def fit(data: Data, *runs: Run, **options: object) -> Trained:
        return train_stack(Stack(runs), data, CPU, **options)

    return fit


@pytest.fixture(scope="session")
def textbook() -> Callable[..., SimpleNamespace]:
    """One run in a plain torch loop, from the same start on the same batches."""

    def batches(run: Run, data: Data) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        seen, order = view(run, data, "train"), stream(run.seed_for("order"), "order")
        x, y = (
            torch.from_numpy(data.x["train"][seen.index]),
            torch.from_numpy(seen.labels),
        )
        while True:
            shuffled = torch.from_numpy(order.permutation(len(y)))
            for rows in shuffled.split(run.batch_size):
                if len(rows) == run.batch_size:
                    yield x[rows], y[rows]

    def optimizer(run: Run, module: nn.Module) -> torch.optim.Optimizer:
        common = {"lr": run.lr, "weight_decay": run.weight_decay}
        if run.optimizer == "sgd":
            return torch.optim.SGD(module.parameters(), momentum=run.momentum, **common)
        family = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[run.optimizer]
        return family(module.parameters(), betas=(run.momentum, 0.999), **common)

    def train(run: Run, data: Data, start: np.ndarray) -> SimpleNamespace:
        architecture = build_architecture(dict(run.architecture))
        module = architecture.module()
        state = architecture.layout.unflatten(start.copy())
        module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
        moves = optimizer(run, module)
        factor, losses = schedule(run.schedule), []
        for step, (x, y) in zip(range(run.steps), batches(run, data), strict=False):
            for group in moves.param_groups:
                group["lr"] = run.lr * factor(step, run.steps)
            loss = functional.cross_entropy(module(x), y)
            moves.zero_grad()
            loss.backward()
            moves.step()
            losses.append(loss.item())
        state = {k: v.detach().numpy() for k, v in module.state_dict().items()}
        weights = architecture.layout.flatten(state)
        return SimpleNamespace(module=module, weights=weights, losses=losses)

    return train


TINY = Recipe(
    name="tiny",
    summary="eight digits MLPs, half of which diverge",
    paper="none",
    cost="a second",
    task="digits",
    architecture="mlp",
    load=Axis("width", (3, 4)),
    temperature=Axis("lr", (0.02, 1e20)),
    seeds=range(2),
    steps=30,
    checkpoints=(0.0, 0.5, 1.0),
    settings={"batch_size": 20, "label_noise": 0.1, "train_evaluated": 500},
    options={"activation": "leaky_relu"},
)


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return TINY


@pytest.fixture(scope="session")
def tiny_zoo(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A catalogue trained in two calls; during the second a third was refused.

    Attributes: root, recipe, first and second (summaries), refusal (an error).
    """
    root = tmp_path_factory.mktemp("tiny") / "zoo"
    refusals: list[CatalogError] = []

    class Intruder(TRAIN.Progress):
        """Starts training the same recipe while it is trained."""

        def update(self, done: float) -> None:
            super().update(done)
            if not refusals:
                try:
                    TRAIN.train(TINY, root, workers=1)
                except CatalogError as error:
                    refusals.append(error)

    first = TRAIN.train(TINY, root, limit=3, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TRAIN, "Progress", Intruder)
        second = TRAIN.train(TINY, root, workers=1)
    (refusal,) = refusals
    return SimpleNamespace(
        root=root, recipe=TINY, first=first, second=second, refusal=refusal
    )


@pytest.fixture(scope="session")
def seeds(digits: Data) -> Networks:
    """Two cells of four digits MLPs 64-16-16-10 that know the digits."""
    network = MLP((64, 16, 16, 10))
    runs = tuple(
        Run(
            "laws", "digits", network.config(), 300, (300,), seed=seed, cell=cell,
            lr=0.05, batch_size=32, schedule="cosine",
        )
        for cell in ("a", "b")
        for seed in range(4)
    )  # fmt: skip
    weights = train_stack(Stack(runs), digits, CPU).checkpoints[-1].weights
    cells = tuple(run.cell for run in runs)
    return Networks(network, digits, runs, (300,) * 8, cells, weights, CPU)


@pytest.fixture(scope="session")
def normalised(digits: Data) -> Networks:
    """A cell of two small ResNets with batch normalisation after a few steps."""
    network = ResNet18(2, (1, 8, 8))
    runs = tuple(
        Run(
            "laws", "digits", network.config(), 20, (20,), seed=seed, cell="a", lr=0.05,
            batch_size=32, train_samples=256, subset_seed=0,
        )
        for seed in range(2)
    )  # fmt: skip
    weights = train_stack(Stack(runs), digits, CPU).checkpoints[-1].weights
    return Networks(network, digits, runs, (20,) * 2, ("a",) * 2, weights, CPU)


@pytest.fixture(scope="session")
def shuffled() -> Callable[..., np.ndarray]:
    """Networks (n, d) with the units of each in a random order of its own."""

    def shuffle(networks: Networks, seed: int = 0) -> np.ndarray:
        layout = networks.architecture.layout
        orders = random_permutations(layout, len(networks), seed=seed)
        return permute(networks.weights, orders, layout)

    return shuffle
