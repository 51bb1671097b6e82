"""Which table a column belongs to, and under which name."""

import pytest

from catalog.formats.columns import divided, published
from catalog.schema import CHECKPOINTS, RUNS


def test_documented_columns_go_to_their_table() -> None:
    row = {"lr": 0.1, "test_loss": 1.0, "val_top5": 0.5, "free": 2}
    assert divided(row) == ({"lr": 0.1, "free": 2}, {"test_loss": 1.0, "val_top5": 0.5})
    run, checkpoint = divided(row, free="checkpoint")
    assert (run, checkpoint.pop("free")) == ({"lr": 0.1}, 2)


def test_a_column_never_stands_in_both_tables() -> None:
    names = {column.name for column in (*RUNS, *CHECKPOINTS)} - {"run_id"}
    for free in ("run", "checkpoint"):
        run, checkpoint = divided(dict.fromkeys(names), free=free)
        assert len(run) + len(checkpoint) == len(names)
        assert not {c.name for c in CHECKPOINTS} & run.keys()
        assert not {c.name for c in RUNS} & checkpoint.keys()


@pytest.mark.parametrize("name", ["shard", "row", "run_id", "zoo", "config", "Row", "LR"])
def test_what_means_something_else_here_is_renamed(name: str) -> None:
    assert published({name: "x", "lr": 1}) == {f"published_{name}": "x", "lr": 1}
