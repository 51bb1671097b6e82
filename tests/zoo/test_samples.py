"""What a run sees: classes, subset, labels, noise and order."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError
from zoo.options.transform import transform
from zoo.run import Run
from zoo.samples import Batches, view, with_noise

CPU = torch.device("cpu")
SPLITS = ("train", "validation", "test")
CONFIG = Run("zoo", "blobs", {}, 0, (0,))


def drawn(data, runs, steps):
    """Images ``(steps, n, b, ...)`` and labels of the first batches."""
    batches = Batches(data, runs, [view(run, data, "train") for run in runs], CPU)
    images, labels = [], []
    for _ in range(steps):
        x, y = batches.empty()
        batches.fill(x, y)
        images.append(x.numpy())
        labels.append(y.numpy())
    return np.stack(images), np.stack(labels)


def names(images):
    """Each image as bytes: equal images have equal names."""
    flat = images.reshape(-1, *images.shape[-3:])
    return [image.tobytes() for image in flat]


@given(st.integers(0, 300), st.floats(0, 1), st.integers(2, 12), st.integers(0, 99))
def test_noise_replaces_exactly_its_share_by_other_classes(size, share, classes, seed):
    labels = np.random.default_rng(seed).integers(0, classes, size)
    run = replace(CONFIG, label_noise=share, noise_seed=seed)
    noisy = with_noise(labels, classes, run)
    assert (noisy != labels).sum() == round(share * size)
    assert ((noisy >= 0) & (noisy < classes)).all()


def test_noise_reaches_every_other_class_equally_often():
    noisy = with_noise(np.zeros(30_000, np.int64), 4, replace(CONFIG, label_noise=1.0))
    counts = np.bincount(noisy, minlength=4)
    assert counts[0] == 0
    assert (abs(counts[1:] - 10_000) < 500).all()


def test_noise_is_in_the_training_labels_alone(blobs, make_run):
    clean, noisy = make_run(), make_run(label_noise=0.5)
    for split in SPLITS:
        wrong = (view(clean, blobs, split).labels != view(noisy, blobs, split).labels).sum()
        assert wrong == (120 if split == "train" else 0)


def test_another_noise_seed_is_other_noise(blobs, make_run):
    first, again, other = (
        view(make_run(label_noise=0.5, noise_seed=s), blobs, "train").labels
        for s in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("classes", [(0, 1, 2, 3, 4, 5), (4, 1), (5, 0, 3)])
def test_class_k_of_a_subset_is_its_kth(blobs, make_run, split, classes):
    seen = view(make_run(classes=classes), blobs, split)
    assert (np.array(classes)[seen.labels] == blobs.y[split][seen.index]).all()
    assert set(seen.index) == set(np.flatnonzero(np.isin(blobs.y[split], classes)))


@pytest.mark.parametrize("split", SPLITS)
def test_a_label_map_renames_after_the_subset(blobs, make_run, split):
    plain = view(make_run(classes=(4, 1, 2)), blobs, split)
    mapped = view(make_run(classes=(4, 1, 2), label_map=(2, 0, 0)), blobs, split)
    assert (mapped.index == plain.index).all()
    assert (mapped.labels == np.array([2, 0, 0])[plain.labels]).all()


@pytest.mark.parametrize("count", [1, 40, 240])
def test_a_subset_has_its_size_and_takes_no_sample_twice(blobs, make_run, count):
    seen = view(make_run(train_samples=count), blobs, "train")
    assert len(set(seen.index)) == len(seen.index) == count
    assert (seen.labels == blobs.y["train"][seen.index]).all()
    for split in SPLITS[1:]:
        seen = view(make_run(train_samples=count), blobs, split)
        assert len(seen.index) == blobs.samples(split)


def test_another_subset_seed_is_another_subset(blobs, make_run):
    first, again, other = (
        set(view(make_run(train_samples=40, subset_seed=s), blobs, "train").index)
        for s in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": (0, 6)}, r"classes must be labels of blobs below 6. Got \(0, 6\)"),
        ({"label_map": (0, 1)}, r"label_map must hold 6 labels below 6. Got \(0, 1\)"),
        ({"label_map": (0, 1, 2, 3, 4, 6)}, "label_map must hold 6 labels below 6"),
        ({"classes": (3, 1), "label_map": (0, 2)}, "must hold 2 labels below 2"),
    ],
)
def test_a_subset_or_map_that_does_not_fit_the_task_is_refused(
    blobs, make_run, fields, message
):
    with pytest.raises(CatalogError, match=message):
        view(make_run(**fields), blobs, "train")


@pytest.mark.parametrize(
    ("batch", "samples"),
    [(1, None), (7, None), (64, 65), (240, 240), (1, 65), (50, 50)],
)
def test_an_epoch_visits_every_sample_once_but_the_remainder(
    blobs, make_run, batch, samples
):
    run = make_run(batch_size=batch, train_samples=samples)
    seen = view(run, blobs, "train")
    per_epoch = len(seen.index) // batch
    known = set(names(blobs.x["train"][seen.index]))
    images, _ = drawn(blobs, [run], 3 * per_epoch)
    epochs = images.reshape(3, per_epoch * batch, *images.shape[-3:])
    for epoch in epochs:
        counts = Counter(names(epoch))
        assert set(counts) <= known
        assert set(counts.values()) == {1}
        assert len(counts) == per_epoch * batch
    assert names(epochs[0]) != names(epochs[1])


def test_what_an_epoch_leaves_out_changes(blobs, make_run):
    run = make_run(batch_size=100)
    images, _ = drawn(blobs, [run], 20)
    assert len(set(names(images))) == 240


def test_orders_are_planned_ahead_without_a_seam(blobs, make_run):
    """Batches of 25 make epochs of 9, which do not fit into what is planned at once."""
    images, _ = drawn(blobs, [make_run(batch_size=25)], 9 * 44)
    assert (Batches.BLOCK // 25) % 9
    for epoch in images.reshape(44, -1, *images.shape[-3:]):
        assert len(set(names(epoch))) == 9 * 25


def test_the_order_depends_on_its_seed_alone(blobs, make_run):
    plain = make_run(seed=3)
    others = [
        make_run(seed=3, lr=9.0, momentum=0.1, weight_decay=0.5, init_scale=2.0),
        make_run(seed=3, label_noise=0.5, init_seed=8, noise_seed=7),
        make_run("linear", seed=3, optimizer="adam", steps=48, cell="elsewhere"),
        make_run(seed=99, order_seed=3),
    ]
    expected, _ = drawn(blobs, [plain], 40)
    found, _ = drawn(blobs, [*others, make_run(seed=4)], 40)
    for i in range(len(others)):
        assert (found[:, i] == expected[:, 0]).all()
    assert (found[:, -1] != expected[:, 0]).any()


def test_labels_follow_their_images(blobs, make_run):
    runs = [
        make_run(classes=(4, 1, 3), label_map=(2, 1, 0)),
        make_run(label_noise=0.3, train_samples=100),
        make_run(transform="rot90"),
    ]
    images, labels = drawn(blobs, runs, 40)
    for i, run in enumerate(runs):
        seen = view(run, blobs, "train")
        shown = transform(run.transform, blobs.x["train"][seen.index])
        known = dict(zip(names(shown), seen.labels, strict=True))
        found = [known[name] for name in names(images[:, i])]
        assert found == labels[:, i].ravel().tolist()


def test_bytes_are_normalised_as_they_are_drawn(blobs, make_run):
    scaled = {
        split: np.rint((x * blobs.std + blobs.mean) * 255).astype(np.uint8)
        for split, x in blobs.x.items()
    }
    images, labels = drawn(replace(blobs, x=scaled), [make_run()], 5)
    expected, same = drawn(blobs, [make_run()], 5)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)
    assert (labels == same).all()


@pytest.mark.parametrize("split", SPLITS)
def test_one_against_the_rest_has_as_many_of_both(blobs, make_run, split):
    seen = view(make_run(one_vs_rest=4, seed=1), blobs, split)
    own = blobs.y[split] == 4
    assert (seen.labels == own[seen.index]).all()
    assert seen.labels.sum() == own.sum() == (1 - seen.labels).sum()
    assert (np.diff(seen.index) > 0).all()
    again = view(make_run(one_vs_rest=4, seed=2), blobs, split)
    assert (again.index == seen.index).all()
    other = view(make_run(one_vs_rest=3), blobs, split)
    assert set(other.index.tolist()) != set(seen.index.tolist())


def test_one_against_the_rest_is_a_class_and_makes_its_own_labels(blobs, make_run):
    with pytest.raises(CatalogError, match=r"one_vs_rest must be a label .*6. Got 6"):
        view(make_run(one_vs_rest=6), blobs, "train")
    with pytest.raises(ValueError, match="leave out classes"):
        make_run(one_vs_rest=1, classes=(0, 1))
