"""The public contract of generators, for every registered one."""

import inspect

import pytest

from catalog import CatalogError, NotFound
from generators.flow.training import Schedule
from generators.registry import generator_named, generators_known
from generators.testing import GeneratorContract

KNOWN = generators_known()
QUICK = {
    "schedule": Schedule(iterations=20, batch_size=16, every=10),
    "sizes": {"width": 16, "depth": 1, "embedding": 8},
    "size": 4,
}
"""Settings that make fits short, for the generators that have them."""


def test_the_registry_holds_methods_and_nulls():
    assert {"deepweightflow", "train_noise", "soup", "retrieval"} <= set(KNOWN)


for name, kind in KNOWN.items():
    settings = {k: v for k, v in QUICK.items() if k in inspect.signature(kind).parameters}
    globals()[f"Test_{name}"] = type(
        f"Test_{name}", (GeneratorContract,), {"kind": kind, "settings": settings}
    )


def test_settings_are_parameters():
    assert generator_named("soup", ["size=4", "aligned=false"]).size == 4
    made = generator_named("deepweightflow", ['schedule={"iterations": 7}'])
    assert made.schedule.iterations == 7
    made = generator_named("deepweightflow", ['conditions=["lr"]', "components=3"])
    assert (made.conditions, made.components) == (["lr"], 3)
    with pytest.raises(NotFound, match=r"No generator 'soop'. Closest: soup"):
        generator_named("soop")
    with pytest.raises(NotFound, match=r"no parameter 'sise'. Closest: size"):
        generator_named("soup", ["sise=4"])
    with pytest.raises(CatalogError, match=r"whole number\. Got 'many'. .*--set size=16"):
        generator_named("soup", ["size=many"])
    with pytest.raises(CatalogError, match=r"NAME=VALUE. Got 'size'"):
        generator_named("soup", ["size"])
