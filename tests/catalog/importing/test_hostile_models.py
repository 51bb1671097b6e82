"""Models of the Hub that are damaged or hostile fail by themselves, and say why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from catalog import CatalogError
from catalog.hub import client, network
from catalog.hub.card import card_columns

from .conftest import Models, packed, state

Fail = Callable[..., str]
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def blob(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


BROKEN: dict[str, tuple[bytes, str]] = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "not a readable"),
    "short": (b"\x01", "not a readable"),
    "beyond": ((1 << 60).to_bytes(8, "little") + b"{}", "not a readable"),
    "no JSON": (blob(b"{]"), "not a readable"),
    "overlap": (blob({"a": F32, "b": F32}, bytes(8)), "not a readable"),
    "hole": (blob({"a": {**F32, "data_offsets": [4, 12]}}, bytes(12)), "not a readable"),
    "truncated": (blob({"a": F32}, bytes(7)), "not a readable"),
    "behind": (blob({"a": F32}, bytes(9)), "not a readable"),
    "twice": (blob(b'{"a":%b,"a":%b}' % ((json.dumps(F32).encode(),) * 2)), "readable"),
    "impossible": (
        blob({"a": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}),
        "not a readable",
    ),
    "no tensors": (blob({}), "has no tensors"),
    "dtype": (
        blob({"a": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}, bytes(8)),
        "tensor 'a' is F8_E4M3",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_fails_alone(models: Models, case: str) -> None:
    content, reason = BROKEN[case]
    models.add("lab/odd", files={"model.safetensors": content})
    models.add("lab/good")
    summary = models.bring("hf://lab/odd", "hf://lab/good")
    assert summary.imported == 1
    assert reason in summary.failed["lab/odd"]
    assert "/tmp" not in summary.failed["lab/odd"]


def test_a_header_that_is_too_long_is_not_read(
    models: Models, failure: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.formats.safetensors_ranges.LARGEST_HEADER", 100)
    models.add("lab/m")
    assert "at most 100 are read" in failure("hf://lab/m")


def test_a_dtype_that_nobody_wants_does_no_harm(models: Models) -> None:
    header = {"a": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}
    header["b"] = {**F32, "data_offsets": [8, 16]}
    models.add("lab/m", files={"model.safetensors": blob(header, bytes(16))})
    assert models.bring("hf://lab/m", tensors=["b"]).imported == 1


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (b"[]", "JSON object"),
        (b'{"weight_map": {}}', "weight_map"),
        (b'{"weight_map": {"a": "../x.safetensors"}}', "file beside the index"),
        (b'{"weight_map": {"a": "none.safetensors"}}', "none.safetensors is missing"),
        (b'{"weight_map": {"a": "x.safetensors"}}', "no tensor 'a'"),
        (b'{"weight_map": {"fc.bias": "x.safetensors"}}', "tensor 'fc.weight', which"),
    ],
)
def test_a_wrong_index_is_refused(
    models: Models, failure: Fail, index: bytes, reason: str
) -> None:
    files = {"x.safetensors": packed(state(0)), "model.safetensors.index.json": index}
    models.add("lab/m", files=files)
    assert reason in failure("hf://lab/m")


def test_endless_answers_end(
    models: Models, failure: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.add("lab/m")
    monkeypatch.setattr(client, "LARGEST_ANSWER", 100_000)
    models.traffic.endless("/api/models/lab/m")
    assert "more than 100,000 bytes" in failure("hf://lab/m")
    models.traffic.endless("/cdn/*")
    assert models.bring("hf://lab/m").imported == 1


def test_broken_connections_are_resumed(models: Models) -> None:
    models.add("lab/m", state(0, w=(1_000_000,)))
    models.traffic.unavailable("/api/*")
    models.traffic.drop("/api/*", after=10)
    models.traffic.drop("/cdn/*", after=1000)
    models.traffic.drop("/cdn/*", after=300_000)
    assert models.bring("hf://lab/m").imported == 1
    (stored,) = models.zoo.read_tensor("w", "true")
    assert (stored == state(0, w=(1_000_000,))["w"].values).all()


def test_the_token_stays_with_the_hub(models: Models, failure: Fail) -> None:
    models.add("lab/m")
    models.bring("hf://lab/m")
    asked = models.traffic.matching("*")
    assert all(("authorization" in r.headers) == ("/cdn/" not in r.path) for r in asked)
    models.hub.repos["models", "lab/m"].private = True
    reason = failure("hf://lab/m", zoo="other")
    assert "hf auth login" in reason
    assert models.hub.token not in reason


def test_an_expired_link_hides_its_signature(models: Models, failure: Fail) -> None:
    models.add("lab/m")
    models.traffic.unavailable("/cdn/*", times=9, status=403)
    reason = failure("hf://lab/m")
    assert "hf://lab/m/model.safetensors refuses" in reason
    assert "signature" not in reason
    assert models.hub.signature not in reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<html>", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"[]", "must hold a JSON object"),
        (b'{"sha": "../../x", "siblings": []}', "states no commit"),
        (b'{"sha": "%b", "siblings": [1, {}, {"rfilename": 3}]}' % (b"0" * 40), "0 files"),
        (b'{"sha": "%b", "siblings": {"a": 1}}' % (b"0" * 40), "0 files"),
    ],
)
def test_a_strange_answer_of_the_hub_is_refused(
    models: Models,
    failure: Fail,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    reason: str,
) -> None:
    monkeypatch.setattr("catalog.remote.http_store.HttpStore.ask", lambda *a: answer)
    assert reason in failure("hf://lab/m")


def test_too_many_bytes_or_tensors_are_refused_before_they_are_read(
    models: Models, failure: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.add("lab/m", state(0, a=(100_000,), b=(1,)))
    monkeypatch.setattr(network, "_memory", lambda: 400_000)
    assert "--tensors GLOB" in failure("hf://lab/m")
    assert models.asked("/lab/m/resolve/*") == 1
    monkeypatch.setattr(network, "MOST_TENSORS", 1)
    assert "at most 1 are read" in failure("hf://lab/m")
    assert models.bring("hf://lab/m", tensors=["b"]).imported == 1


def test_cards_are_written_by_hand() -> None:
    info = {
        "tags": ["a\x1b[2J", "base_model:adapter:lab/x", 3, "\ud800", "license:mit"],
        "cardData": {"license": ["mit", "apache-2.0"], "base_model_relation": ["x"]},
        "downloads": -1,
    }
    run, checkpoint = card_columns(info)
    assert run["license"] == "mit, apache-2.0"
    assert (run["base_model"], run["base_model_relation"]) == ("lab/x", "adapter")
    assert json.loads(str(run["tags"])) == [
        "a\x1b[2J",
        "base_model:adapter:lab/x",
        "license:mit",
    ]
    assert str(run["tags"]).isprintable()
    assert checkpoint["downloads"] is None
    for wrong in (None, [], "x", 1, {"base_model": {"a": 1}, "license": 5}):
        run, checkpoint = card_columns({"cardData": wrong, "tags": wrong, "downloads": "9"})
        assert set(run.values()) <= {None, "[]"}


def test_texts_of_a_card_are_stored_as_they_are(models: Models) -> None:
    card = {"license": "x'); DROP TABLE runs; --", "base_model": "a\u202eb"}
    models.add("lab/m", card=card)
    models.bring("hf://lab/m")
    query = "SELECT license, base_model FROM models"
    assert models.zoo.sql(query).fetchall() == [tuple(card.values())]


def test_nothing_is_asked_where_the_client_is_missing(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.console.extras.find_spec", lambda module: None)
    with pytest.raises(ModuleNotFoundError):
        models.bring("hf://lab/m")
    with pytest.raises(CatalogError, match="no address"):
        models.bring("hf://lab")
