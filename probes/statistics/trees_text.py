"""Validation of models in the text format of LightGBM, whose reader trusts every number.

A malicious text with invalid features, children or lengths could make LightGBM access
memory out of bounds. The text that is passed to LightGBM is therefore written anew from
validated numbers; everything else in the text is left out.
"""

from __future__ import annotations

import math

MOST_LEAVES = 1 << 16
_OBJECTIVES = ("regression", "binary sigmoid:1")
_WHOLE = ("split_feature", "decision_type", "left_child", "right_child")
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OF_NODES = (
    *_WHOLE,
    *("split_gain", "threshold", "internal_value", "internal_weight", "internal_count"),
)


def checked_trees(text: str, features: int) -> str:
    """Return the text of a regression or binary model with all numbers validated.

    Raises
    ------
    ValueError
        If the text is not a valid model with this number of features.
    """
    head, *trees = text.split("\nend of trees")[0].split("\nTree=")
    fields = dict(_pair(line) for line in head.splitlines() if "=" in line)
    _expect(head.startswith("tree\n") and fields.get("version") == "v4", "a model of trees")
    layout = [
        fields.get(key) for key in ("num_class", "num_tree_per_iteration", "label_index")
    ]
    _expect(layout == ["1", "1", "0"], "one value for each row")
    _expect(fields.get("max_feature_idx") == str(features - 1), f"{features} features")
    _expect(fields.get("objective") in _OBJECTIVES, "regression or binary trees")
    parts = [_tree(i, tree, features) for i, tree in enumerate(trees)]
    sizes = " ".join(str(len(part)) for part in parts)
    lines = [
        *("tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0"),
        *(f"max_feature_idx={features - 1}", f"objective={fields['objective']}"),
        "feature_names=" + " ".join(f"Column_{i}" for i in range(features)),
        "feature_infos=" + " ".join(["none"] * features),
        *(f"tree_sizes={sizes}", "", ""),
    ]
    return "\n".join(lines) + "".join(parts) + "end of trees\n"


def _tree(number: int, text: str, features: int) -> str:
    """Validate the text of one tree, and write it anew."""
    first, _, rest = text.partition("\n")
    fields = dict(_pair(line) for line in rest.splitlines() if "=" in line)
    leaves = _numbers(fields, "num_leaves", 1, whole=True)[0]
    _expect(first == str(number) and 1 <= leaves <= MOST_LEAVES, "trees in their order")
    _expect(fields.get("num_cat") == "0" and fields.get("is_linear") == "0", "plain trees")
    values: dict[str, list[float]] = {}
    nodes = int(leaves) - 1
    for key in _OF_NODES if nodes else ():
        values[key] = _numbers(fields, key, nodes, whole=key in _WHOLE)
    for key in _OF_LEAVES if nodes else _OF_LEAVES[:1]:
        values[key] = _numbers(fields, key, int(leaves))
    shrinkage = _numbers(fields, "shrinkage", 1)[0]
    if nodes:
        _expect(all(0 <= f < features for f in values["split_feature"]), "known features")
        _expect(all(kind in (0, 2, 8, 10) for kind in values["decision_type"]), "numbers")
        # Every node and leaf but the root is the child of exactly one earlier node.
        children: list[float] = []
        for i, pair in enumerate(
            zip(values["left_child"], values["right_child"], strict=True)
        ):
            _expect(all(child < 0 or child > i for child in pair), "children below nodes")
            children += pair
        expected = [*range(1, nodes), *(-leaf - 1 for leaf in range(int(leaves)))]
        _expect(sorted(children) == sorted(expected), "each leaf once")
    lines = [f"Tree={number}", f"num_leaves={int(leaves)}", "num_cat=0"]
    for key in ("split_feature", "split_gain", "threshold", "decision_type", "left_child",
                "right_child", "leaf_value", "leaf_weight", "leaf_count", "internal_value",
                "internal_weight", "internal_count"):  # fmt: skip
        whole = key in _WHOLE or key.endswith("count")
        numbers = values.get(key, [])
        lines.append(
            f"{key}=" + " ".join(str(int(v)) if whole else repr(v) for v in numbers)
        )
    return "\n".join([*lines, "is_linear=0", f"shrinkage={shrinkage!r}", "", "", ""])


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key, value


def _numbers(
    fields: dict[str, str], key: str, count: int, *, whole: bool = False
) -> list[float]:
    texts = fields.get(key, "").split(" ")
    _expect(len(texts) == count, f"{count} numbers of {key}")
    values = [float(int(text)) if whole else float(text) for text in texts]
    _expect(all(math.isfinite(value) for value in values), f"finite {key}")
    return values


def _expect(valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(f"The text of a booster does not hold {expected}.")
