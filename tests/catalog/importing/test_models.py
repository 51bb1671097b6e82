"""Models of the Hub: read by ranges, with the columns of their cards, each by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog import CatalogError, import_source
from catalog.console.program import main
from catalog.formats.format import Tensor
from catalog.importing import models as importing
from catalog.show.dictionary import all_columns
from catalog.storage.splits import split

from .conftest import Models, packed, state

Fail = Callable[..., str]
CARD = {"license": "mit", "base_model": "lab/base", "tags": ["vision"]}


def rows(models: Models, columns: str) -> list[tuple[Any, ...]]:
    return models.zoo.sql(f"SELECT {columns} FROM models ORDER BY source_name").fetchall()


# ------------------------------------------------------------------------- what comes in


def test_tensors_come_bit_for_bit_with_the_columns_of_the_card(models: Models) -> None:
    tensors = state(1) | {"half": Tensor(np.arange(5, dtype=np.uint16), "bfloat16")}
    repo = models.add("lab/vit", tensors, CARD)
    repo.downloads, repo.tags_of_page = 12, ["vision", "base_model:finetune:lab/base"]
    summary = models.bring("hf://lab/vit")
    assert (summary.zoo, summary.networks, summary.imported) == ("hub", 1, 1)
    assert summary.failed == {}
    stored = models.zoo.select("source_name = 'lab/vit'")[0]
    assert list(stored) == list(tensors)
    assert all((stored[name] == t.values).all() for name, t in tensors.items())
    commit = repo.branches["main"].oid
    assert rows(models, "license, base_model, base_model_relation, tags, downloads") == [
        ("mit", "lab/base", "finetune", json.dumps(repo.tags_of_page), 12)
    ]
    assert rows(models, "hub_model, hub_file, hub_tensors, hub_commit, step, parents") == [
        ("lab/vit", "model.safetensors", None, commit, 0, None)
    ]


def test_columns_that_no_card_has_exist_and_are_documented(models: Models) -> None:
    models.add("lab/bare")
    models.bring("hf://lab/bare")
    assert rows(models, "license, base_model, tags") == [(None, None, "[]")]
    described = {row["column"]: row["meaning"] for row in all_columns(models.zoo)}
    for column in ("base_model", "tags", "downloads", "hub_commit", "hub_model"):
        assert described[column] not in ("", "free column of a zoo")


def test_only_the_bytes_of_wanted_tensors_are_read(models: Models) -> None:
    big = {"a": (500_000,), "wanted": (250_000,), "z": (500_000,)}
    tensors = state(2, **big)
    models.add("lab/big", tensors)
    summary = models.bring("hf://lab/big", tensors=["want*"])
    sent = sum(models.traffic.sent.values())
    assert sent <= 1.1 * 1_000_000 + 100_000
    assert models.asked("/lab/big/resolve/*") == 2
    assert models.asked("/api/*") == 1
    assert len(models.traffic.requests) == 5  # and two redirects followed
    assert summary.weights == 1
    (stored,) = models.zoo.read_tensor("wanted", "true")
    assert (stored == tensors["wanted"].values).all()
    assert rows(models, "hub_tensors") == [('["want*"]',)]


def test_a_small_model_takes_one_request_for_weights(models: Models) -> None:
    models.add("lab/small")
    models.bring("hf://lab/small")
    assert models.asked("/lab/small/resolve/*") == 1


def test_a_long_header_takes_one_more_request(models: Models) -> None:
    many = {f"{'layer' * 40}.{i}": (2,) for i in range(900)}
    tensors = state(3, **many)
    models.add("lab/deep", tensors)
    models.bring("hf://lab/deep", tensors=["*.899", "*.0"])
    assert models.asked("/lab/deep/resolve/*") == 3
    stored = models.zoo.select("true")[0]
    assert len(stored) == 2
    assert all((stored[name] == tensors[name].values).all() for name in stored)


def sharded(models: Models, name: str = "lab/parts", **changes: bytes) -> dict[str, Any]:
    tensors = state(4, a=(300_000,), b=(4,), c=(300_000,), d=(5,))
    parts = [("one", ["b", "a"]), ("two", ["c", "d"])]
    weight_map = {n: f"{part}.safetensors" for part, names in parts for n in sorted(names)}
    files = {
        f"{part}.safetensors": packed({n: tensors[n] for n in names})
        for part, names in parts
    }
    index = json.dumps({"weight_map": weight_map}).encode()
    files["model.safetensors.index.json"] = index
    models.add(name, files=files | changes)
    return tensors


def test_of_parts_only_those_with_wanted_tensors_are_read(models: Models) -> None:
    tensors = sharded(models)
    models.bring("hf://lab/parts", tensors=["c", "d"])
    assert models.asked("*/one.safetensors") == 0
    assert models.asked("/lab/parts/resolve/*/two.safetensors") == 2
    assert models.asked("/lab/parts/resolve/*") == 3
    models.bring("hf://lab/parts", zoo="whole")
    stored = models.zoo.select("zoo = 'whole'")[0]
    assert list(stored) == ["a", "b", "c", "d"]
    assert all((stored[name] == tensors[name].values).all() for name in stored)


def test_adapters_have_their_rank(models: Models) -> None:
    pair = state(5, **{"q.lora_A.weight": (2, 6), "q.lora_B.weight": (6, 2)})
    models.add("lab/adapter", files={"adapter_model.safetensors": packed(pair)})
    models.bring("hf://lab/adapter")
    assert rows(models, "lora_rank, hub_file") == [(2, "adapter_model.safetensors")]


def test_a_list_names_models_and_python_takes_several(
    models: Models, tmp_path: Path
) -> None:
    for name in ("lab/a", "lab/b", "lab/c"):
        models.add(name)
    text = "# of the lab\nhf://lab/a\n\nlab/b@main  # the second\nhf://lab/a\n"
    (tmp_path / "list.txt").write_text(text)
    summary = models.bring(str(tmp_path / "list.txt"), "hf://lab/c")
    assert summary.imported == 3
    assert [name for (name,) in rows(models, "source_name")] == ["lab/a", "lab/b", "lab/c"]


def test_revisions_may_be_checkpoints_of_a_run(models: Models) -> None:
    for step in (1, 10):
        repo = models.add("lab/run", state(step))
        repo.tags[f"step{step}"] = repo.branches["main"]
    names = [f"hf://lab/run@step{step}" for step in (1, 10)]
    summary = models.bring(*names, run="(?P<run>.*)@step(?P<step>[0-9]+)")
    assert (summary.runs, summary.imported) == (1, 2)
    assert models.zoo.sql(
        "SELECT source_name, step, hub_commit FROM models ORDER BY step"
    ).fetchall() == [("lab/run", s, repo.tags[f"step{s}"].oid) for s in (1, 10)]


# ------------------------------------------------------------------------- once more


def test_a_known_commit_costs_one_request(models: Models) -> None:
    models.add("lab/vit", card=CARD).downloads = 1
    models.bring("hf://lab/vit")
    version = models.zoo.version
    models.hub.repos["models", "lab/vit"].downloads = 2
    models.traffic.clear()
    summary = models.bring("hf://lab/vit")
    assert (summary.networks, summary.imported, summary.known) == (1, 0, 1)
    assert models.zoo.version == version
    assert len(models.traffic.requests) == 1
    assert models.asked("/api/models/lab/vit") == 1


def test_a_new_commit_or_choice_is_told_apart(models: Models, failure: Fail) -> None:
    repo = models.add("lab/vit")
    first = repo.branches["main"].oid
    models.bring("hf://lab/vit")
    assert "with all tensors" in failure("hf://lab/vit", tensors=["fc.bias"])
    models.add("lab/vit", state(99))
    assert "--zoo NAME" in failure("hf://lab/vit")
    second = repo.branches["main"].oid
    assert models.bring(f"hf://lab/vit@{first}").known == 1
    assert models.bring(f"hf://lab/vit@{second}").imported == 1
    assert [n for (n,) in rows(models, "source_name")] == ["lab/vit", f"lab/vit@{second}"]


def test_those_that_failed_are_tried_again(models: Models) -> None:
    models.add("lab/good")
    models.add("lab/bad", files={"pytorch_model.bin": b"pickle"})
    sources = ("hf://lab/bad", "hf://lab/good", "hf://lab/none")
    summary = models.bring(*sources)
    assert (summary.networks, summary.imported) == (1, 1)
    assert list(summary.failed) == ["lab/none", "lab/bad"]
    assert "pytorch_model.bin" in summary.failed["lab/bad"]
    assert "no model hf://lab/none" in summary.failed["lab/none"]
    models.add("lab/bad")
    again = models.bring(*sources)
    assert (again.imported, again.known, list(again.failed)) == (1, 1, ["lab/none"])


# ------------------------------------------------------------------------- trees


def test_base_models_are_parents_and_share_their_splits(models: Models) -> None:
    for i in range(6):
        card = {"base_model": "lab/base", "base_model_relation": "finetune"}
        models.add(f"lab/tuned{i}", card=card)
    models.add("lab/adapter", card={"base_model": ["lab/tuned0"]})
    models.add("lab/base")
    names = [f"hf://lab/tuned{i}" for i in range(6)]
    models.bring("hf://lab/adapter", *names, "hf://lab/base")
    ids = dict(rows(models, "source_name, run_id"))
    parents = dict(rows(models, "source_name, parents"))
    assert parents["lab/base"] is None
    base = {"run_id": ids["lab/base"], "step": 0, "role": "finetune"}
    assert all(parents[f"lab/tuned{i}"] == [base] for i in range(6))
    assert parents["lab/adapter"] == [
        {"run_id": ids["lab/tuned0"], "step": 0, "role": "base"}
    ]
    assert set(rows(models, "split_by_run")) == {(split("hf://lab/base"),)}


def test_a_base_model_of_an_earlier_import_is_a_parent(models: Models) -> None:
    models.add("lab/base")
    models.bring("hf://lab/base", zoo="bases")
    models.add("lab/tuned", card={"base_model": "lab/base"})
    models.bring("hf://lab/tuned")
    (base, tuned) = rows(models, "run_id, parents, split_by_run")
    assert tuned[1] == [{"run_id": base[0], "step": 0, "role": "base"}]
    assert base[2] == tuned[2]


def test_circles_and_failed_bases_leave_no_link(models: Models) -> None:
    models.add("lab/a", card={"base_model": ["lab/b", "lab/a"]})
    models.add("lab/b", card={"base_model": "lab/a"})
    bad = {"w": Tensor(np.array([np.nan], np.float32), "float32")}
    models.add("lab/nan", bad)
    models.add("lab/child", card={"base_model": "lab/nan"})
    sources = ["hf://lab/a", "hf://lab/b", "hf://lab/child", "hf://lab/nan"]
    summary = models.bring(*sources)
    assert list(summary.failed) == ["lab/nan"]
    assert "NaN" in summary.failed["lab/nan"]
    linked = {name: bool(parents) for name, parents in rows(models, "source_name, parents")}
    assert linked == {"lab/a": True, "lab/b": False, "lab/child": False}


# ------------------------------------------------------------------------- files


PLAIN = packed(state(0))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["a.safetensors", "b.safetensors"], "name one"),
        (["x/a.safetensors"], "hf://lab/m/x/a.safetensors"),
        (["tf_model.h5", "model.pt"], "model.pt, tf_model.h5; pickles"),
        (["README"], "none with weights"),
        (["m-00001-of-00002.safetensors"], "no safetensors file"),
    ],
)
def test_no_file_or_several_are_listed(
    models: Models, failure: Fail, files: list[str], reason: str
) -> None:
    models.add("lab/m", files=dict.fromkeys(files, PLAIN))
    assert reason in failure("hf://lab/m")
    assert models.asked("/lab/m/resolve/*") == 0


def test_a_file_may_be_named(models: Models, failure: Fail) -> None:
    models.add("lab/m", files={"x/a.safetensors": PLAIN, "b.pt": b"", "c.safetensors": b""})
    models.bring("hf://lab/m/x/a.safetensors")
    assert rows(models, "source_name, hub_file") == [
        ("lab/m/x/a.safetensors", "x/a.safetensors")
    ]
    assert "only safetensors" in failure("hf://lab/m/b.pt")
    assert "Closest: x/a.safetensors" in failure("hf://lab/m/x/b.safetensors")


def test_a_pattern_without_a_match_names_some_tensors(
    models: Models, failure: Fail
) -> None:
    models.add("lab/m")
    assert "Closest: fc." in failure("hf://lab/m", tensors=["fc.wieght"])


def test_patterns_choose_tensors_of_local_files_too(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(PLAIN)
    import_source(tmp_path / "zoo", tmp_path / "a.safetensors", tensors=["*.bias"])
    import catalog

    assert list(catalog.open(tmp_path / "zoo").select("true")[0]) == ["fc.bias"]


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (["hf://datasets/lab/zoo"], {}, "phasezoo fetch"),
        (["hf://lab"], {}, "no address of a model"),
        (["hf://lab/m/../x.safetensors"], {}, "no parts like"),
        (["hf://lab/m@refs%2F..%2Fx"], {}, "no parts like"),
        (["hf://lab/m", "somewhere"], {}, "'somewhere' is no model"),
        (["hf://lab/m"], {"format": "npz_keyed"}, "Leave out --format"),
        (["hf://lab/m"], {"tensors": [""]}, "list of patterns"),
        (["hf://lab/m"], {"zoo": " "}, "cannot name a zoo"),
        (["one", "two"], {}, "one by one"),
    ],
)
def test_wrong_sources_are_refused_before_anything_is_asked(
    models: Models, sources: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CatalogError, match=message):
        models.bring(*sources, **options)
    assert not models.traffic.requests
    assert not models.root.exists()


def test_wrong_lines_of_a_list_are_numbered(models: Models, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("lab/m\nlab\n# no\nhf://datasets/lab/x\n")
    with pytest.raises(CatalogError, match=r"(?s)line 2: 'lab' .*line 4: .* data set"):
        models.bring(str(tmp_path / "list.txt"))
    assert not models.traffic.requests


# ------------------------------------------------------------------------- side by side


def test_downloads_share_a_limit_and_keep_the_order(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "IN_FLIGHT", 1_200_000)
    names = [f"lab/m{i:02}" for i in range(20)]
    for i, name in enumerate(names):
        models.add(name, state(i, w=(400_000 if i == 7 else 100_000,)))
    counts: list[int] = []
    summary = models.bring(*(f"hf://{n}" for n in names), progress=counts.append)
    assert summary.imported == 20
    assert counts == list(range(1, 21))
    assert [name for (name,) in rows(models, "source_name")] == names


def test_an_error_of_the_whole_import_ends_the_downloads(models: Models) -> None:
    for i in range(20):
        models.add(f"lab/m{i}", state(i, w=(50_000 + i,)))
    with pytest.raises(CatalogError, match="one-layout"):
        models.bring(*(f"hf://lab/m{i}" for i in range(20)), one_layout=True)
    assert not models.root.exists() or not models.zoo.snapshot.manifests


# ------------------------------------------------------------------------- the command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["import", *arguments])
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


def test_the_command_names_the_models_that_failed(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    models.add("lab/m")
    there = ("--catalog", str(models.root), "--json")
    code, out, err = run(capsys, "hf://lab/m", "hf://lab/none", *there)
    assert code == 1
    answer = json.loads(out)
    assert (answer["imported"], list(answer["failed"])) == (1, ["lab/none"])
    assert "1 of 2 models were not imported" in err
    assert models.hub.token not in out + err
    code, out, _ = run(capsys, "hf://lab/m", *there)
    assert (code, json.loads(out)["known"]) == (0, 1)
