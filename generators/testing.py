"""Contract of generators, as tests that fit to a small population.

Authors of generators run it on their own classes::

    from generators.testing import GeneratorContract

    class TestMine(GeneratorContract):
        kind = MyGenerator
        settings = {"iterations": 20}

The class must be registered, see `generators.methods.METHODS`, because files refer to
generators by name. With ``pytest.register_assert_rewrite("generators.testing")``, failures
show the values that differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from catalog import CatalogError, Layout, LayoutMismatch, NotFound, Param, Population
from generators.generator import Generator
from generators.registry import open_generator

LAYOUT = Layout(
    (
        Param("in.weight", (5, 3), ("h", None)),
        Param("in.bias", (5,), ("h",)),
        Param("variance", (5,), ("h",), role="buffer"),
        Param("seen", (), dtype="int64", role="counter"),
        Param("out.weight", (2, 5), (None, "h")),
    )
)


def networks(n: int = 60, seed: int = 0, layout: Layout = LAYOUT) -> Population:
    """Return a small population of one zoo whose networks are all in split train."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((n, layout.d)).astype(np.float32) + 2
    weights[:, layout.slices["variance"]] **= 2
    table = pa.table(
        {
            "run_id": [f"{seed}-{i:03d}" for i in range(n)],
            "step": [9] * n,
            "zoo": ["z"] * n,
            "lr": [0.1] * n,
            "split_by_run": ["train"] * n,
            "test_accuracy": rng.random(n),
        }
    )
    return Population(weights, layout, table, {"seen": np.arange(n)})


class GeneratorContract:
    """Tests that every generator must pass; a subclass names the class under test.

    Attributes
    ----------
    kind : type
        Subclass of `Generator`.
    settings : mapping
        Settings with which a fit is short.
    """

    kind: ClassVar[type[Generator]]
    settings: ClassVar[Mapping[str, Any]] = {}
    _fitted: ClassVar[dict[type, Any]] = {}

    def unfitted(self) -> Any:
        """Return an unfitted generator."""
        return self.kind(**self.settings)

    def fitted(self) -> Any:
        """Return the generator under test; it is fitted only once."""
        if type(self) not in self._fitted:
            fitted = self.unfitted().fit(networks(), networks(20, seed=1))
            self._fitted[type(self)] = fitted
        return self._fitted[type(self)]

    def test_a_generator_is_named_and_documented(self) -> None:
        assert isinstance(self.kind.name, str)
        assert 10 < len(self.kind.summary) < 80
        assert (self.kind.__doc__ or "").strip()

    def test_samples_are_runs_of_the_same_layout(self) -> None:
        samples = self.fitted().sample(7, seed=3)
        assert len(samples) == 7
        assert samples.layout == self.fitted().training_.layout.widened()
        assert np.isfinite(samples.weights).all()
        assert len(set(samples["run_id"])) == 7
        assert set(samples["source"]) == {"generated"}
        assert set(samples["zoo"]) == {"z_generated"}
        assert samples["lr"].tolist() == [0.1] * 7
        assert (
            samples.extra["seen"].tolist() == [59] * 7 or len(self.fitted().training_) < 60
        )
        assert (samples.tensor("variance") > 0).all()  # also after noise was added

    def test_one_seed_gives_the_same_bytes_and_another_others(self) -> None:
        first, repeated, other = (self.fitted().sample(5, seed=s) for s in (1, 1, 2))
        assert first.weights.tobytes() == repeated.weights.tobytes()
        assert first.table.equals(repeated.table)
        assert (first.weights != other.weights).any(1).any()
        assert not set(first["run_id"]) & set(other["run_id"])

    def test_a_fit_is_the_same_twice(self) -> None:
        refitted = self.unfitted().fit(networks(), networks(20, seed=1))
        assert (
            refitted.sample(3).weights.tobytes()
            == self.fitted().sample(3).weights.tobytes()
        )

    def test_a_saved_generator_makes_the_same_samples(self, tmp_path: Path) -> None:
        path = tmp_path / "g.safetensors"
        self.fitted().save(path)
        for loaded in (type(self.fitted()).load(path), open_generator(path)):
            assert loaded.sample(4, seed=5).table.equals(
                self.fitted().sample(4, seed=5).table
            )
            weights = loaded.training_.weights
            assert weights.tobytes() == self.fitted().training_.weights.tobytes()

    def test_what_cannot_be_learned_from_is_refused(self) -> None:
        bad = networks()
        bad.weights[3, 1] = np.nan
        with pytest.raises(LayoutMismatch, match="1 of 60 training networks hold values"):
            self.unfitted().fit(bad)
        empty = networks().select([])
        with pytest.raises(CatalogError, match=r"0 runs .* are too few"):
            self.unfitted().fit(empty)
        other = networks(layout=Layout((*LAYOUT.params[:-1], Param("out.weight", (3, 5)))))
        with pytest.raises(LayoutMismatch, match=r"Got 2: 60 x layout .*; 60 x layout"):
            self.unfitted().fit([networks(), other])

    def test_what_cannot_be_sampled_is_refused(self) -> None:
        with pytest.raises(CatalogError, match="is not fitted"):
            self.unfitted().sample(1)
        with pytest.raises((CatalogError, NotFound), match=r"no_such|takes no condition"):
            self.fitted().sample(1, condition={"no_such": 1.0})
        with pytest.raises(ValueError, match="Got 0"):
            self.fitted().sample(0)
