"""Small trained populations, and the reference that samples are judged by."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from catalog import Population
from catalog.names import canonical_json
from generators.exam import Exam
from generators.judging.reference import Reference
from generators.nulls import Train
from zoo.architectures import MLP
from zoo.engine.stack import Stack
from zoo.engine.train_stack import train_stack
from zoo.recipe import Axis, Recipe
from zoo.run import Run
from zoo.task import load_task
from zoo.tasks import TASKS

TRAIN = import_module("zoo.training.train")
TINY = Recipe(
    name="seeds",
    summary="digits MLPs of two widths, many seeds",
    paper="none",
    cost="seconds",
    task="digits",
    architecture="mlp",
    load=Axis("width", (6, 7)),
    temperature=Axis("lr", (0.05,)),
    seeds=range(150),
    steps=100,
    checkpoints=(1.0,),
    settings={"batch_size": 32, "schedule": "linear"},
    options={"depth": 1},
)
NETWORK = MLP((64, 8, 10))


@pytest.fixture(scope="session", autouse=True)
def one_thread(forked_workers):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def few_strengths():
    """Every kind of null at one or two strengths; `test_judging` has all of them."""
    fewer = {
        "NOISES": (0.1, 0.5), "SHARES": (0.5,), "SIZES": (4,), "SIGMAS": (1.0,),
        "RANKS": (32,),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, values in fewer.items():
            patch.setattr(f"generators.nulls.suite.{name}", values)
        yield


@pytest.fixture(scope="session")
def digits_data():
    return load_task(TASKS["digits"])


@pytest.fixture(scope="session")
def trained(digits_data):
    """Trains digits networks of an architecture that differ in their seed."""

    def made(architecture, *, count, steps, **settings):
        runs = tuple(
            Run(
                "seeds", "digits", architecture.config(), steps, (steps,), seed=seed,
                cell="a", batch_size=32, schedule="linear", **settings,
            )
            for seed in range(count)
        )  # fmt: skip
        found = train_stack(Stack(runs), digits_data, torch.device("cpu")).checkpoints[-1]
        table = pa.table(
            {
                "run_id": [run.run_id(digits_data.fingerprint) for run in runs],
                "step": [steps] * count,
                "zoo": ["seeds"] * count,
                "source": ["trained"] * count,
                "task_name": ["digits"] * count,
                "architecture": [canonical_json(architecture.config())] * count,
                "data_fingerprint": [digits_data.fingerprint] * count,
                "config": [canonical_json(run.config()) for run in runs],
            }
        )
        return Population(found.weights, architecture.layout, table)

    return made


@pytest.fixture(scope="session")
def population(trained):
    """A hundred and twenty digits MLPs 64-8-10 that differ in their seed."""
    return trained(NETWORK, count=120, steps=250, lr=0.05)


@pytest.fixture(scope="session")
def judge(population, digits_data):
    """Eighty training and forty held-out networks, aligned, with their reference."""
    train, heldout = population.select(range(80)), population.select(range(80, 120))
    fitted = Train().fit(train)
    exam = Exam.of(population, data=digits_data)
    reference = Reference.of(fitted, train, heldout, exam)
    return SimpleNamespace(
        train=train, heldout=heldout, fitted=fitted, exam=exam, reference=reference
    )


@pytest.fixture(scope="session")
def samples_of(judge):
    """Weights as samples in the units of the training networks."""

    def made(weights):
        weights = np.asarray(weights, np.float32)
        table = pa.table(
            {"run_id": [f"s{i}" for i in range(len(weights))], "step": [0] * len(weights)}
        )
        return Population(weights, judge.train.layout, table)

    return made


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A catalogue of 300 digits MLPs of two widths; tests add what they generate."""
    folder = tmp_path_factory.mktemp("generating") / "zoo"
    TRAIN.train(TINY, folder, workers=1)
    return folder
