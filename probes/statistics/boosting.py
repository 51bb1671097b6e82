"""Gradient boosting of trees with LightGBM, stored as text instead of pickle."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from catalog import CatalogError
from catalog.console.extras import require
from catalog.dtypes import Array
from probes.exact.dealing import check_groups, dealt, sides_of
from probes.statistics.trees_text import checked_trees

ROUNDS = 400
"""Maximum number of trees; the number is chosen on held-out groups."""
LEAVES = (4, 8, 16)
"""Candidate numbers of leaves per tree."""
_FOLDS = 4


@dataclass(frozen=True)
class Boosting:
    """Boosted trees for each target.

    Attributes
    ----------
    texts : tuple of str
        Models of the targets, in the text format of LightGBM.
    leaves, rounds : tuple of int
        Number of leaves per tree, and of trees, chosen for each target.
    """

    texts: tuple[str, ...]
    leaves: tuple[int, ...]
    rounds: tuple[int, ...]

    @classmethod
    def of(cls, F: Array, y: Array, groups: Array, labels: bool, seed: int) -> Boosting:
        """Fit targets (n, width) one by one to features (n, p).

        Leaves and rounds are those with the lowest loss over four folds of groups.

        Parameters
        ----------
        labels : bool
            True if targets are 0 and 1; the scores are then logits.

        Raises
        ------
        ModuleNotFoundError
            If LightGBM is not installed.
        CatalogError
            If the OpenMP library that LightGBM needs is missing.
        """
        lightgbm = _library()
        common = {
            "objective": "binary" if labels else "regression",
            "learning_rate": 0.05,
            "min_data_in_leaf": max(2, min(20, len(F) // 20)),
            "min_data_in_bin": 1,
            "feature_fraction": 0.5,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        check_groups(groups)
        count = min(_FOLDS, len(np.unique(groups)))
        folds = sides_of(dealt(groups, count, seed))
        texts, leaves, rounds = [], [], []
        for column in y.T:
            candidates: list[tuple[float, int, int]] = []
            constant = bool((column == column[0]).all())
            for leaf_count in () if constant else LEAVES:
                results = lightgbm.cv(
                    {**common, "num_leaves": leaf_count},
                    lightgbm.Dataset(F, column, free_raw_data=False),
                    ROUNDS,
                    folds=folds,
                )
                losses = np.array(
                    next(v for k, v in results.items() if k.endswith("-mean"))
                )
                best_round = int(losses.argmin()) + 1
                candidates.append((float(losses.min()), leaf_count, best_round))
            _, leaf_count, trees = min(candidates, default=(0.0, 2, 1))
            booster = lightgbm.train(
                {**common, "num_leaves": leaf_count}, lightgbm.Dataset(F, column), trees
            )
            texts.append(booster.model_to_string())
            leaves.append(leaf_count)
            rounds.append(trees)
        return cls(tuple(texts), tuple(leaves), tuple(rounds))

    def scores(self, F: Array) -> Array:
        """Predict values, or logits, (n, width) from features (n, p)."""
        lightgbm = _library()
        models = [checked_trees(text, F.shape[1]) for text in self.texts]
        columns: list[Any] = [
            lightgbm.Booster(model_str=model).predict(F, raw_score=True, num_threads=1)
            for model in models
        ]
        return np.stack(columns, axis=1)


def _library() -> ModuleType:
    """Import LightGBM, whose wheel needs the OpenMP library of the system."""
    require("lightgbm")
    try:
        import lightgbm
    except OSError as error:
        raise CatalogError(
            f"LightGBM cannot start: {error}. It needs the OpenMP library of the system: "
            "apt-get install libgomp1, or brew install libomp. Or use model=smooth."
        ) from error
    module: ModuleType = lightgbm
    return module
