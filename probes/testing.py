"""Contract of probes as tests: the properties that judge, files and commands rely on.

Authors of probes run the contract on their own classes::

    from probes.testing import ProbeContract

    class TestMine(ProbeContract):
        kind = MyProbe
        settings = {"epochs": 5}

The class must be registered in `probes.estimators.PROBES`, because files store the name of
the probe. With ``pytest.register_assert_rewrite("probes.testing")`` failures show values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from catalog import CatalogError, Layout, LayoutMismatch, Param
from catalog.dtypes import Array
from probes.file import about, load, save
from probes.probe import Probe
from probes.targets import TASKS

LAYOUT = Layout(
    (
        Param("first.weight", (6, 5)),
        Param("first.bias", (6,)),
        Param("second.weight", (4, 6)),
        Param("q.lora_A.weight", (2, 5)),
        Param("q.lora_B.weight", (4, 2)),
    )
)
KINDS = ("regression", "columns", "binary", "multiclass", "multilabel")


def networks(n: int = 40, seed: int = 0) -> Array:
    """Return random weights (n, d) of networks with the layout `LAYOUT`."""
    return np.random.default_rng(seed).standard_normal((n, LAYOUT.d)).astype(np.float32)


def targets(X: Array, kind: str) -> Array:
    """Return targets of one of `KINDS`, computed from the first layer of the networks."""
    base = X[:, LAYOUT.slices["first.weight"]][:, :3].astype(np.float64)
    if kind == "regression":
        return base[:, 0] * 2 + 1
    if kind == "columns":
        return base * 2 + 1
    if kind == "binary":
        return np.where(base[:, 0] > 0, "good", "bad")
    if kind == "multiclass":
        return np.array([3, 5, 9])[base.argmax(1)]
    return (base > 0).astype(int)


def task(kind: str) -> str:
    """Return the task of a kind of targets."""
    return "regression" if kind in ("regression", "columns") else "classification"


each_kind = pytest.mark.parametrize("kind", KINDS)


class ProbeContract:
    """Tests that every probe must pass; a subclass names the class to test.

    Attributes
    ----------
    kind : type
        Subclass of `Probe`.
    settings : mapping
        Parameters that keep a fit short.
    several_layers : bool
        True if the probe reads several layers at once.
    holds_out_groups : bool
        True if the probe chooses a parameter on held-out groups and needs two groups.
    """

    kind: ClassVar[type[Probe]]
    settings: ClassVar[Mapping[str, Any]] = {}
    several_layers: ClassVar[bool] = True
    holds_out_groups: ClassVar[bool] = False

    def made(self, **params: Any) -> Any:
        """Return an unfitted probe with the short settings and ``params``."""
        return self.kind(**{**self.settings, **params})

    @pytest.mark.parametrize("task", TASKS)
    def test_sklearn(self, task: str) -> None:
        """Pass all checks that scikit-learn has for estimators."""
        check_estimator(self.made(task=task), on_skip=None)

    def test_names_and_summaries(self) -> None:
        assert isinstance(self.kind.name, str)
        assert 0 < len(self.kind.summary) <= 72
        assert not self.kind.summary.endswith(".")

    @each_kind
    def test_every_kind_of_target_is_learnt_and_kept(
        self, kind: str, tmp_path: Path
    ) -> None:
        X = networks()
        y = targets(X, kind)
        groups = np.repeat(np.arange(20), 2)
        params = {"task": task(kind), "layout": LAYOUT, "layer": "first.weight"}
        probe = self.made(**params).fit(X, y, groups)
        predicted = probe.predict(X)
        assert predicted.shape == y.shape
        if task(kind) == "regression":
            assert np.isfinite(predicted).all()
        else:
            assert set(np.unique(predicted)) <= set(np.unique(y))
            width = () if kind == "binary" else (3,)
            assert probe.decision_function(X).shape == (len(X), *width)
        save(probe, tmp_path / "probe.safetensors", {"where": "width = 8"})
        loaded = load(tmp_path / "probe.safetensors")
        np.testing.assert_array_equal(loaded.predict(X), predicted)
        assert type(loaded) is self.kind
        assert about(tmp_path / "probe.safetensors") == {"where": "width = 8"}

    @pytest.mark.parametrize("layer", [None, "q.weight", ["second.weight", "first.weight"]])
    def test_several_layers_and_low_rank_ones_are_read(
        self, layer: str | list[str] | None, tmp_path: Path
    ) -> None:
        X = networks()
        y = targets(X, "columns")
        if not self.several_layers and layer != "q.weight":
            with pytest.raises(ValueError, match="layer"):
                self.made(layout=LAYOUT, layer=layer).fit(X, y)
            return
        probe = self.made(layout=LAYOUT, layer=layer).fit(X, y)
        save(probe, tmp_path / "probe")
        np.testing.assert_array_equal(load(tmp_path / "probe").predict(X), probe.predict(X))
        assert np.isfinite(probe.predict(X)).all()

    def test_the_order_of_networks_and_dtypes_change_little(self) -> None:
        X = networks()
        y = targets(X, "regression")
        probe = self.made(layout=LAYOUT, layer="first.weight").fit(X, y)
        np.testing.assert_allclose(
            probe.predict(X[::-1])[::-1], probe.predict(X), rtol=1e-3, atol=1e-3
        )
        np.testing.assert_allclose(
            probe.predict(X.astype(np.float64)), probe.predict(X), rtol=1e-3, atol=1e-3
        )

    @each_kind
    def test_a_layer_that_all_share_carries_nothing_and_is_no_nan(self, kind: str) -> None:
        X = networks()
        y = targets(X, kind)
        X[:, LAYOUT.slices["second.weight"]] = 0.3
        params = {"task": task(kind), "layout": LAYOUT}
        probe = self.made(**params, layer="second.weight").fit(X, y)
        if kind in ("regression", "columns"):
            expected = np.broadcast_to(y.mean(0), y.shape)
            np.testing.assert_allclose(probe.predict(X), expected, rtol=0.02, atol=0.02)
        assert len(np.unique(probe.predict(X), axis=0)) == 1

    def test_a_constant_target_is_predicted(self) -> None:
        X = networks()
        probe = self.made(layout=LAYOUT, layer="first.weight").fit(X, np.full(40, 0.7))
        np.testing.assert_allclose(probe.predict(X), 0.7, atol=0.02)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite_are_refused(self, value: float) -> None:
        X = networks()
        y = targets(X, "regression")
        probe = self.made(layout=LAYOUT, layer="first.weight")
        X[3, 4] = value
        with pytest.raises(ValueError, match=r"(?i)nan|infinity"):
            clone(probe).fit(X, y)
        probe.fit(networks(), y)
        with pytest.raises(ValueError, match=r"(?i)nan|infinity"):
            probe.predict(X)

    def test_one_class_and_wrong_groups_are_refused(self) -> None:
        X = networks()
        probe = self.made(task="classification", layout=LAYOUT, layer="first.weight")
        with pytest.raises(ValueError, match="one class"):
            probe.fit(X, np.ones(len(X), int))
        with pytest.raises(ValueError, match="groups has 3 rows"):
            probe.fit(X, targets(X, "binary"), [0, 1, 2])
        with pytest.raises(ValueError, match="each 0 or 1"):
            probe.fit(X, np.full((len(X), 2), 7))

    def test_one_group_is_refused_where_groups_are_held_out(self) -> None:
        X = networks()
        probe = self.made(layout=LAYOUT, layer="first.weight")
        y = targets(X, "regression")
        if self.holds_out_groups:
            with pytest.raises(ValueError, match="one group"):
                probe.fit(X, y, np.zeros(len(X)))
        else:
            probe.fit(X, y, np.zeros(len(X)))

    def test_wrong_layouts_are_refused(self) -> None:
        X = networks()
        y = targets(X, "regression")
        with pytest.raises(LayoutMismatch, match=r"layout=population\.layout"):
            self.made(layout=LAYOUT, layer="first.weight").fit(X[:, :-1], y)
        with pytest.raises(CatalogError, match=r"first\.weight"):
            self.made(layout=LAYOUT, layer="frist.weight").fit(X, y)
        probe = self.made(layout=LAYOUT, layer="first.weight").fit(X, y)
        with pytest.raises(ValueError, match="features"):
            probe.predict(X[:, :-1])
        with pytest.raises(ValueError, match="task"):
            self.made(task="ranking").fit(X, y)
