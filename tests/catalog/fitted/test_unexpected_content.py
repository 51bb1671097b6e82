"""What an odd file leads to is one error that names it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from catalog import (
    Canonicaliser,
    CatalogError,
    Layout,
    NotFound,
    Param,
    Population,
    ShardCorrupt,
)
from catalog.fitted.unexpected_content import as_written
from catalog.formats.safetensors_file import read_header, read_tensors, write_file
from catalog.storage.json_column import json_object


@pytest.mark.parametrize(
    "odd",
    [
        lambda: {}["x"], lambda: [][1], lambda: None.x, lambda: int("x"), lambda: 1 / 0,
        lambda: "x" + 1, lambda: np.zeros(2).reshape(3), lambda: pa.array([1, "a"]),
        lambda: json.loads("[" * 100_000), lambda: "\ud800".encode(), lambda: 1.5e308**2,
        lambda: Layout.from_json([{}]), lambda: (_ for _ in ()).throw(MemoryError()),
    ],
)  # fmt: skip
def test_whatever_odd_content_leads_to_is_one_error(odd) -> None:
    told = r"a\.file is damaged, or not a thing .*Fetch it"
    whole = as_written(Path("a.file"), "a thing", "Fetch it.")
    with pytest.raises(ShardCorrupt, match=told), whole:
        odd()


def test_errors_that_say_enough_pass() -> None:
    for error in (NotFound("no x"), KeyboardInterrupt(), SystemExit(2)):
        with pytest.raises(type(error)), as_written("a.file", "a thing", "Fetch it."):
            raise error


@pytest.mark.parametrize("text", [None, "", "7", "[]", "null", '"x"', "{", "[" * 10**5, 5])
def test_a_cell_without_an_object_is_refused(text) -> None:
    with pytest.raises(CatalogError, match="config of run 'a' is not a JSON object"):
        json_object(text, "config of run 'a'")


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("layout"), lambda about: about.update(version="x"),
        lambda about: about.update(layout=[{"name": 5}]),
        lambda about: about.update(evil=1),
        lambda about: about.pop("strategy"), lambda about: about.update(scaled=7),
    ],
)  # fmt: skip
def test_a_canonicaliser_of_other_content_is_refused(tmp_path: Path, change) -> None:
    layout = Layout((Param("w", (2, 3), ("h", None)),))
    table = pa.table({"run_id": ["a", "b"], "step": [0, 0]})
    weights = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
    path = tmp_path / "c.safetensors"
    Canonicaliser("reference").fit(Population(weights, layout, table)).save(path)
    about = json.loads(read_header(path).metadata["canonicaliser"])
    change(about)
    tensors = read_tensors(path)
    with path.open("wb") as file:
        write_file(file, tensors, {"canonicaliser": json.dumps(about)})
    with pytest.raises(
        CatalogError, match=r"c\.safetensors is damaged, or not a canonical"
    ):
        Canonicaliser.load(path)
