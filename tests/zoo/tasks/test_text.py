"""Windows of bytes: every one predicts the byte behind it, and no split leaks."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import CatalogError, NotFound
from zoo.task import load_task
from zoo.tasks import TASKS
from zoo.tasks.token_windows import BLOCK, windows

TEXT = TASKS["text"]
LENGTH = TEXT.shape[0]
SAID = bytes(np.random.default_rng(0).integers(97, 123, 40 * BLOCK * LENGTH + 7, np.uint8))


def test_labels_are_the_bytes_behind():
    data = windows(TEXT, SAID)
    for split, x in data.x.items():
        assert x.shape == data.y[split].shape == (len(x), LENGTH)
        assert (x[:, 1:] == data.y[split][:, :-1]).all()


def test_every_window_is_in_one_split():
    data = windows(TEXT, SAID)
    rows = np.concatenate([data.x[s] for s in ("train", "validation", "test")])
    original = np.frombuffer(SAID, np.uint8)[: 40 * BLOCK * LENGTH].reshape(-1, LENGTH)
    assert sorted(map(bytes, rows.astype(np.uint8))) == sorted(map(bytes, original))
    assert data.samples("test") == data.samples("validation") == 4 * BLOCK


@pytest.mark.parametrize("place", ["text.txt", "text/text.txt", "other.md"])
def test_a_file_or_a_folder_with_it_is_read(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(SAID)
    found = load_task(TEXT, path if place == "other.md" else tmp_path)
    assert found.fingerprint == windows(TEXT, SAID).fingerprint


def test_a_parquet_file_gives_its_distinct_texts(tmp_path):
    lines = [f"line {i}" * 20 for i in range(2000)]
    pq.write_table(pa.table({"text": lines + lines[:50]}), tmp_path / "text_small.parquet")
    expected = windows(TEXT, "\n".join(lines).encode()).fingerprint
    assert load_task(TEXT, tmp_path).fingerprint == expected
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "text_small.parquet")
    with pytest.raises(CatalogError, match="must have a column text"):
        load_task(TEXT, tmp_path)


@pytest.mark.parametrize("where", [None, "empty"])
def test_absent_text_says_how_to_give_it(tmp_path, where):
    with pytest.raises(NotFound, match="--text FILE"):
        load_task(TEXT, None if where is None else tmp_path)
    with pytest.raises(NotFound, match="no such file"):
        load_task(TEXT, tmp_path / "nothing.txt")


def test_too_short_a_text_is_refused_with_numbers():
    with pytest.raises(
        CatalogError, match="has 100 bytes, but three splits need at least 122,881"
    ):
        windows(TEXT, b"x" * 100)


def test_only_any_text_takes_what_is_called_otherwise(tmp_path):
    pq.write_table(pa.table({"text": ["a"] * 9}), tmp_path / "text_small.parquet")
    with pytest.raises(NotFound, match="OpenWebText"):
        load_task(TASKS["openwebtext"], tmp_path)


def test_nobody_knows_the_entropy_of_text():
    from zoo.objectives import classification, language

    assert math.isnan(language.interpolation())
    assert classification.interpolation() == pytest.approx(0.01 * math.log(2))
