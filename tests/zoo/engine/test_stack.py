"""Which runs train together."""

from collections import Counter
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError, NotFound
from zoo.architectures import MLP, ResNet18
from zoo.engine.stack import (
    build_architecture,
    fitting_batch,
    network_bytes,
    plan,
    shape_key,
)
from zoo.options.optimizer import OPTIMIZERS
from zoo.run import Run

SHARED = {
    "architecture": MLP((400, 9, 6)).config(), "task": "digits", "batch_size": 9,
    "steps": 41, "checkpoints": (0,), "optimizer": "adam", "schedule": "linear",
}  # fmt: skip
OWN = {
    "lr": 0.5, "momentum": 0.1, "weight_decay": 0.1, "label_noise": 0.1, "init_scale": 2.0,
    "seed": 9, "init_seed": 9, "order_seed": 9, "subset_seed": 9, "noise_seed": 9,
    "train_samples": 50, "classes": (5, 4, 3, 2, 1, 0), "label_map": (1, 0, 2, 3, 4, 5),
    "transform": "rot90", "init_from": ("a", 1), "train_evaluated": 9, "zoo": "other",
    "width": 3, "load_axis": "a", "load": 1.0, "temperature_axis": "a",
    "temperature": 1.0, "cell": "a", "augment": "crop", "beta": 1.0,
    "one_vs_rest": 3,
}  # fmt: skip
RUNS = st.lists(
    st.tuples(
        st.sampled_from([4, 8]), st.sampled_from(["sgd", "adam"]),
        st.sampled_from(["identity", "rot90", "negate"]), st.integers(0, 99),
    ),
    min_size=1, max_size=30, unique=True,
)  # fmt: skip


def test_every_field_of_a_run_is_shared_or_its_own():
    assert SHARED.keys() | OWN.keys() == {field.name for field in fields(Run)}


@pytest.mark.parametrize("field", SHARED)
def test_runs_of_another_shape_do_not_share_a_stack(blobs, make_run, field):
    run = make_run(checkpoints=(0, 5))
    other = replace(run, **{field: SHARED[field]})
    assert shape_key(run) != shape_key(other)
    assert [len(stack) for stack in plan([run, other], blobs, 1 << 40)] == [1, 1]


@pytest.mark.parametrize("field", OWN)
def test_what_varies_inside_a_stack_does_not_split_it(blobs, make_run, field):
    run = make_run()
    other = replace(run, **{field: OWN[field]})
    assert run != other
    assert [len(stack) for stack in plan([run, other], blobs, 1 << 40)] == [2]


@given(
    RUNS, st.integers(16, 32).map(lambda k: 1 << k), st.integers(1, 9), st.integers(1, 4)
)
def test_a_plan_is_a_partition_that_fits_the_memory(
    blobs, make_run, drawn, memory, nets, workers
):
    runs = [
        make_run(batch_size=batch, optimizer=optimizer, transform=name, seed=seed)
        for batch, optimizer, name, seed in drawn
    ]
    stacks = plan(runs, blobs, memory, nets=nets, workers=workers)
    samples = sum(map(len, blobs.y.values()))
    together = [run for stack in stacks for run in stack.runs]
    assert Counter(map(repr, together)) == Counter(map(repr, runs))
    for stack in stacks:
        assert len({shape_key(run) for run in stack.runs}) == 1
        assert len(stack) <= nets
        each = network_bytes(stack.runs[0], stack.architecture, samples)
        assert each * len(stack) <= memory or len(stack) == 1
        images = len({run.transform for run in stack.runs}) * sum(
            x.nbytes for x in blobs.x.values()
        )
        assert images <= memory or len({run.transform for run in stack.runs}) == 1
    work = [stack.work for stack in stacks]
    assert work == sorted(work, reverse=True)


def test_less_memory_makes_smaller_stacks(blobs, make_run):
    runs = [make_run(seed=seed) for seed in range(32)]
    architecture = build_architecture(dict(runs[0].architecture))
    each = network_bytes(runs[0], architecture, sum(map(len, blobs.y.values())))
    sizes = [
        max(len(stack) for stack in plan(runs, blobs, memory, nets=32))
        for memory in (40 * each, 20 * each, 5 * each, each, 1)
    ]
    assert sizes == [32, 16, 5, 1, 1]


@pytest.mark.parametrize(("runs", "workers", "stacks"), [(9, 1, 1), (9, 2, 2), (3, 4, 3)])
def test_every_worker_gets_a_stack_if_there_are_runs(
    blobs, make_run, runs, workers, stacks
):
    same = [make_run(seed=seed) for seed in range(runs)]
    assert len(plan(same, blobs, 1 << 40, nets=99, workers=workers)) == stacks


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_stack_has_no_more_transforms_than_copies_of_the_images_fit(
    blobs, make_run, copies
):
    names = ["identity", "rot90", "rot180", "negate", "transpose"]
    runs = [make_run("linear", transform=name, batch_size=1) for name in names]
    images = sum(x.nbytes for x in blobs.x.values())
    stacks = plan(runs, blobs, images * copies + 1, nets=99)
    found = [len({run.transform for run in stack.runs}) for stack in stacks]
    assert max(found) == copies
    assert sum(found) == len(names)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_more_of_anything_takes_more_memory(make_run, optimizer):
    run = make_run(optimizer=optimizer)
    small = build_architecture(dict(run.architecture))
    bytes_of = network_bytes(run, small)
    assert bytes_of > 4 * small.layout.d * (3 + len(run.checkpoints))
    assert network_bytes(replace(run, batch_size=64), small) > bytes_of
    assert network_bytes(replace(run, checkpoints=(0, 1, 2, 3)), small) > bytes_of
    assert network_bytes(run, MLP((400, 70, 6))) > bytes_of
    assert network_bytes(run, small, samples=1000) > bytes_of


def test_an_unknown_architecture_is_answered_with_the_closest():
    with pytest.raises(NotFound, match=r"No architecture 'mpl'. Closest: mlp"):
        build_architecture({"name": "mpl", "sizes": (2, 2)})


@pytest.mark.parametrize("config", [{"sizes": [2, 2]}, {"sizes": [2, 2], "depth": 1}])
def test_a_stored_configuration_must_fit_the_family(config):
    with pytest.raises(
        ValueError, match=r"takes the fields \['activation', 'sizes'\]. Got"
    ):
        build_architecture({"name": "mlp", **config})


def test_a_batch_that_does_not_fit_is_accumulated_but_not_of_batch_normalised_networks():
    plain = Run("a", "digits", MLP((64, 8, 10)).config(), 5, (5,), batch_size=64)
    network = MLP((64, 8, 10))
    whole = network_bytes(plain, network)
    assert fitting_batch(plain, network, whole) is None
    assert 1 <= fitting_batch(plain, network, whole // 2) < 64
    normalised = ResNet18.scaled(2, (1, 8, 8), 10)
    run = replace(plain, architecture=normalised.config())
    with pytest.raises(CatalogError, match="The batch cannot be split"):
        fitting_batch(run, normalised, network_bytes(run, normalised) // 2)


def test_no_stack_takes_much_longer_than_a_workers_share(blobs, make_run):
    long = [make_run(seed=seed, steps=4000, checkpoints=(0,)) for seed in range(8)]
    runs = [*long, *(make_run(seed=seed) for seed in range(8))]
    for workers in (1, 2, 3):
        work = [stack.work for stack in plan(runs, blobs, 1 << 40, workers=workers)]
        assert max(work) <= 1.4 * sum(work) / workers
        assert len(work) <= 2 + 2 * workers
