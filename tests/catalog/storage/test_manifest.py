"""Commit records come from strangers: they are read whole or refused, never obeyed."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import Catalog, CatalogError, ShardCorrupt
from catalog.storage.folder import Folder
from catalog.storage.manifest import (
    CONTENTS,
    Manifest,
    check_format,
    parse_json,
    read_manifest,
)

SHARD = "0123456789ab-000001"
OTHER = "ba9876543210-000001"
DIGEST = "0" * 64


def record(content: str = "weights", shard: str = SHARD) -> dict[str, Any]:
    def file(kind: str) -> dict[str, Any]:
        folder = "weights/mlp-0123456789ab" if kind == "weights" else kind
        path = f"{folder}/{shard}.parquet"
        return {"path": path, "bytes": 10, "sha256": DIGEST, "rows": 1}

    members = {"members": [record("metrics", OTHER)]} if content == "pack" else {}
    return members | {
        "format": [2, 0] if content in ("tombstones", "pack") else [1, 0],
        "shard": shard,
        "content": content,
        "sequence": 1,
        "created": "2026-01-01T00:00:00+00:00",
        "writer": "phasezoo 0.1.0",
        "files": {kind: file(kind) for kind in CONTENTS[content]},
        "arch_id": "mlp-0123456789ab",
        "layout_id": "0" * 16,
        "footer_sha256": DIGEST,
        "footer_bytes": 100,
        "measure_columns": ["x"] if content == "measures" else [],
    }


@pytest.mark.parametrize("content", CONTENTS)
def test_a_manifest_survives_json(content: str) -> None:
    manifest = Manifest.from_json(record(content), "m")
    assert json.loads(json.dumps(manifest.to_json())) == record(content)


PATH = ("files", "runs", "path")
MUTATIONS = [
    (("shard",), "../../etc/passwd"),
    (("shard",), "0123456789AB-000001"),
    (("shard",), SHARD + "\n"),
    (("shard",), 7),
    (("content",), "pickles"),
    (("content",), "metrics"),
    (("content",), "measures"),
    (("sequence",), -1),
    (("sequence",), 1 << 50),
    (("sequence",), 10**40),
    (("sequence",), 1.0),
    (("sequence",), True),
    (("sequence",), "1"),
    (("created",), "now"),
    (("created",), None),
    (("writer",), "\x1b[2J"),
    (("writer",), "x" * 101),
    (("files",), {}),
    (("files",), []),
    (("files",), {"weights": {}}),
    (("files", "runs"), None),
    (("files", "runs"), "runs/x.parquet"),
    (("files", "pickles"), {}),
    (PATH, f"../runs/{SHARD}.parquet"),
    (PATH, f"/etc/{SHARD}.parquet"),
    (PATH, f"runs/../{SHARD}.parquet"),
    (PATH, f"runs/a/../{SHARD}.parquet"),
    (PATH, f"runs//{SHARD}.parquet"),
    (PATH, f"./runs/{SHARD}.parquet"),
    (PATH, f"runs\\{SHARD}.parquet"),
    (PATH, f"runs/{SHARD}.parquet\0"),
    (PATH, f"runs/{SHARD}.parquet\n"),
    (PATH, "runs/0123456789ab-000002.parquet"),
    (PATH, f"checkpoints/{SHARD}.parquet"),
    (PATH, f"runs/{SHARD}.duckdb"),
    (PATH, "https://example.org/" + SHARD + ".parquet"),
    (PATH, ""),
    (PATH, 5),
    (("files", "weights", "path"), f"weights/{SHARD}.parquet"),
    (("files", "weights", "path"), f"weights/../runs/{SHARD}.parquet"),
    (("files", "weights", "path"), f"weights/a/b/{SHARD}.parquet"),
    (("files", "runs", "sha256"), "0" * 63),
    (("files", "runs", "sha256"), "G" * 64),
    (("files", "runs", "sha256"), None),
    (("files", "runs", "bytes"), -1),
    (("files", "runs", "bytes"), 1 << 60),
    (("files", "runs", "rows"), 0.5),
    (("files", "runs", "rows"), True),
    (("arch_id",), "../x"),
    (("arch_id",), "x" * 121),
    (("layout_id",), "xyz"),
    (("footer_sha256",), "abc"),
    (("footer_bytes",), -8),
    (("footer_bytes",), None),
    (("measure_columns",), "x"),
    (("measure_columns",), [1]),
    (("measure_columns",), {"x": 1}),
    (("measure_columns",), ["\ud800"]),
    (("measure_columns",), ["a\0b"]),
    (("format",), None),
    (("format",), "1.0"),
    (("format",), [1]),
    (("format",), [1, 0, 0]),
    (("format",), [True, 0]),
]


def mutated(value: dict[str, Any], keys: tuple[str, ...], to: Any) -> dict[str, Any]:
    changed = copy.deepcopy(value)
    inside = changed
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = to
    return changed


@pytest.mark.parametrize(("keys", "to"), MUTATIONS)
def test_one_wrong_value_makes_a_manifest_corrupt(keys: tuple[str, ...], to: Any) -> None:
    with pytest.raises(
        ShardCorrupt, match=r"here (is not a valid manifest: expected|has no valid)"
    ):
        Manifest.from_json(mutated(record(), keys, to), "here")


@pytest.mark.parametrize("content", CONTENTS)
def test_every_field_is_needed(content: str) -> None:
    for key in record(content):
        value = record(content)
        del value[key]
        with pytest.raises(
            ShardCorrupt, match=key if key != "format" else "no valid format version"
        ):
            Manifest.from_json(value, "here")
    for kind in CONTENTS[content]:
        for key in ("path", "bytes", "sha256", "rows"):
            value = record(content)
            del value["files"][kind][key]
            with pytest.raises(ShardCorrupt, match="Got None"):
                Manifest.from_json(value, "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=6,
)
PATHS = st.sampled_from(
    [(key,) for key in record()]
    + [("files", kind) for kind in CONTENTS["weights"]]
    + [
        ("files", k, f)
        for k in ("weights", "runs")
        for f in ("path", "bytes", "sha256", "rows")
    ]
)


@given(st.lists(st.tuples(PATHS, JSON), max_size=3), JSON)
@settings(max_examples=150)
def test_any_json_is_a_manifest_or_a_catalogue_error(
    changes: list[Any], other: Any
) -> None:
    value = record()
    for keys, to in changes:
        try:
            value = mutated(value, keys, to)
        except (TypeError, KeyError):  # an earlier change took the container away
            continue
    for candidate in (value, other):
        try:
            manifest = Manifest.from_json(candidate, "here")
        except CatalogError:
            continue
        for kind, file in manifest.files.items():
            parts = Path(file.path).parts
            assert parts[0] == kind
            assert ".." not in parts
            assert parts[-1] == f"{manifest.shard}.parquet"


@pytest.mark.parametrize("version", [[3, 0], [99, 1]])
def test_a_newer_major_format_is_refused_with_the_way_out(version: list[int]) -> None:
    for raises in (
        lambda: check_format(version, "here"),
        lambda: Manifest.from_json({**record(), "format": version}, "here"),
    ):
        with pytest.raises(
            CatalogError, match=r"format \d+\.\d.*reads up to 2.x. Upgrade: pip"
        ) as e:
            raises()
        assert not isinstance(e.value, ShardCorrupt)


def test_a_pack_of_packs_or_tombstones_is_refused() -> None:
    for inner in ("pack", "tombstones"):
        value = record("pack") | {"members": [record(inner, OTHER)]}
        with pytest.raises(ShardCorrupt, match="a member is not a valid manifest"):
            Manifest.from_json(value, "m")


def test_members_of_a_pack_are_checked_as_any_manifest() -> None:
    value = record("pack")
    value["members"][0]["files"]["runs"]["path"] = "../../etc/passwd"
    with pytest.raises(ShardCorrupt, match="path"):
        Manifest.from_json(value, "m")
    twice = record("pack") | {"members": 2 * record("pack")["members"]}
    with pytest.raises(ShardCorrupt, match="distinct members"):
        Manifest.from_json(twice, "m")


def test_a_newer_minor_format_is_read() -> None:
    value = {**record(), "format": [1, 7], "a_field_of_the_future": 1}
    assert Manifest.from_json(value, "here") == Manifest.from_json(record(), "here")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000, b'{"a": 1}x', b"\0", b"nan"],
)
def test_a_file_that_is_not_json_is_corrupt(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(ShardCorrupt, match=r"x.json is not valid JSON .*verify"):
        parse_json(Folder(tmp_path), path)


def test_a_missing_file_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(ShardCorrupt, match=r"x.json is missing"):
        parse_json(Folder(tmp_path), tmp_path / "x.json")


def test_a_manifest_under_another_name_is_refused(zoo: Catalog) -> None:
    (path,) = (zoo.root / "manifests").iterdir()
    path.rename(path.with_name("0" * 12 + "-000001.json"))
    with pytest.raises(ShardCorrupt, match="is the manifest of shard"):
        read_manifest(zoo._folder, "0" * 12 + "-000001")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: mutated(m, ("files", "weights", "rows"), 10**9),
        lambda m: mutated(m, ("files", "runs", "bytes"), 10**12),
        lambda m: mutated(m, ("files", "runs", "sha256"), DIGEST),
        lambda m: mutated(m, ("arch_id",), "another-arch"),
        lambda m: mutated(m, ("arch_id",), ""),
    ],
)
def test_a_catalogue_with_a_lying_manifest_is_refused_when_read(
    zoo: Catalog, change: Any
) -> None:
    (path,) = (zoo.root / "manifests").iterdir()
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    (zoo.root / "HEAD").unlink()
    with pytest.raises(CatalogError):
        catalog.open(zoo.root).load(verify=True)


@pytest.mark.parametrize(
    "columns", [["nope"], ["x", "nope"], ["run_id"], ["measure"], [""], []]
)
def test_measure_columns_that_are_not_in_the_file_never_crash(
    zoo: Catalog, measure: Any, columns: list[str]
) -> None:
    made = measure(zoo, [{"run_id": "run-0", "step": 0, "x": 1.5}])
    path = zoo._folder.manifest(made.shard)
    path.write_text(
        json.dumps(mutated(json.loads(path.read_text()), ("measure_columns",), columns))
    )
    (zoo.root / "HEAD").unlink()
    try:
        rows = catalog.open(zoo.root).sql("FROM models").fetchall()
    except ShardCorrupt as error:
        assert "cannot be indexed" in str(error)  # noqa: PT017
    else:
        assert len(rows) == 5
