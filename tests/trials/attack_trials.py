"""Attacks of `test_attack` on a catalogue: ``attack_trials.py FOLDER SEED KIND COUNT …``.

Every mutant is opened, queried, loaded and verified. What comes back is a CatalogError
with text, or the committed numbers. The process may use 6 GiB and a mutant 30 seconds;
before each of them a line says which it is, so that a crash is traced.
"""

import faulthandler
import hashlib
import json
import os
import resource
import secrets
import shutil
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
from attack_mutations import damaged, damaged_json, rewritten

import catalog
from catalog import Catalog, CatalogError, Layout, Param, Population
from catalog.catalog import arrow_table
from catalog.dtypes import dtype
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify

MEMORY = 6 << 30
SECONDS = 30
LAYOUTS = (
    Layout(
        (
            Param("fc.weight", (4, 3), ("h", None)),
            Param("fc.bias", (4,), ("h",), "bfloat16"),
            Param("bn.mean", (4,), ("h",), "float16", "buffer"),
            Param("count", (), (), "int64", "counter"),
            Param("mask", (2, 2), (), "bool", "constant"),
            Param("unused", (0, 4), (), "float64"),
        )
    ),
    Layout(
        (
            Param("W", (3, 2), (None, None), "float64"),
            Param("phase", (2,), (), "complex64", "constant"),
            Param("ids", (3,), (), "uint32", "constant"),
            Param("bytes", (5,), (), "int8", "counter"),
        )
    ),
)

Files = dict[str, bytes]
Networks = dict[tuple[str, int], dict[str, bytes]]


def population(layout: Layout, n: int, prefix: str, seed: int) -> Population:
    draws = np.random.default_rng(seed)
    tensors = {}
    for param in layout:
        storage, shape = dtype(param.dtype).storage, (n, *param.shape)
        values = draws.integers(0, 2 if param.dtype == "bool" else 100, shape)
        tensors[param.name] = values.astype(storage)
    table = {
        "run_id": [f"{prefix}{i}" for i in range(n)],
        "step": [10 * i for i in range(n)],
    }
    return Population.from_tensors(tensors, layout, pa.table(table))


def commit(root: Path, layout: Layout, n: int, prefix: str, seed: int) -> None:
    networks = population(layout, n, prefix, seed)
    ids = networks.table["run_id"].to_pylist()
    runs = {"run_id": ids, "zoo": ["z"] * n, "source": ["trained"] * n}
    runs["width"] = [seed] * n  # type: ignore[assignment]
    with catalog.open(root).writer() as writer:
        writer.commit(pa.table(runs), networks.table, networks)


def measure(root: Path, rows: list[dict[str, Any]]) -> None:
    with catalog.open(root).writer() as writer:
        writer.commit_measures(pa.Table.from_pylist(rows), "m", {"seed": 0})


def build(root: Path) -> None:
    """Weights in many dtypes, metrics, measures, tombstones and a pack."""
    catalog.open(root, create=True)
    commit(root, LAYOUTS[0], 5, "a", 1)
    commit(root, LAYOUTS[0], 3, "b", 2)
    measure(
        root, [{"run_id": "a0", "step": 0, "x": 1.5}, {"run_id": "b1", "step": 10, "x": 2}]
    )
    compact(root)
    commit(root, LAYOUTS[1], 4, "c", 3)
    metrics = {"run_id": ["bare"], "step": [0], "test_accuracy": [0.5]}
    runs = {"run_id": ["bare"], "zoo": ["z"], "source": ["trained"]}
    with catalog.open(root).writer() as writer:
        writer.commit(pa.table(runs), pa.table(metrics))
    measure(
        root, [{"run_id": "a0", "step": 0, "x": 7.5}, {"run_id": "c1", "step": 10, "y": 1}]
    )
    remove(catalog.open(root), "run_id = 'b0'")
    collect(root, keep=1, grace=0)
    catalog.open(root).sql("SELECT 1").fetchall()


def contents(root: Path) -> Files:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "writers" not in path.parts
    }


def restore(root: Path, files: Files, *, cache: bool) -> None:
    """Put every file back; without ``cache``, drop what can be rebuilt."""
    if not cache and (root / "cache").is_dir():  # a pipe would be waited for
        shutil.rmtree(root / "cache", ignore_errors=True)
    for path in sorted(root.rglob("*"), reverse=True):
        name = str(path.relative_to(root))
        if path.is_symlink() or (not path.is_dir() and name not in files):
            path.unlink()
    for name, data in files.items():
        path = root / name
        if name.startswith("cache/") and not cache:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists() and not path.is_file():
            path.unlink()
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def networks_of(zoo: Catalog, *, verified: bool) -> Networks:
    """Tensors by checkpoint, through `load` with hashes or one row at a time."""
    found: Networks = {}
    if not verified:
        chosen = zoo.select("row IS NOT NULL")
        for i in range(len(chosen)):
            key = chosen.table["run_id"][i].as_py(), chosen.table["step"][i].as_py()
            found[key] = {name: v.tobytes() for name, v in chosen[i].items()}
        return found
    query = "SELECT DISTINCT arch_id FROM models WHERE row IS NOT NULL ORDER BY 1"
    for arch in arrow_table(zoo.sql(query))["arch_id"].to_pylist():
        quoted = str(arch).replace("'", "''")
        loaded = zoo.load(f"arch_id = '{quoted}'", verify=True)
        for i in range(len(loaded)):
            key = loaded.table["run_id"][i].as_py(), loaded.table["step"][i].as_py()
            found[key] = {p.name: loaded.stored(p.name)[i].tobytes() for p in loaded.layout}
    return found


def rows_of(zoo: Catalog) -> list[Any]:
    return arrow_table(zoo.sql("SELECT * FROM models ORDER BY run_id, step")).to_pylist()


class Trials:
    """A catalogue, what it holds, and what became of every mutant."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.root, self.random = folder / "zoo", Random(seed)
        outside = folder / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        names = Random(0)  # else a seed does not give the same mutants again
        secrets.token_hex = lambda nbytes=None: names.randbytes(nbytes or 32).hex()
        build(self.root)
        shutil.copytree(self.root / "runs", outside / "runs")
        self.outside = outside
        self.kept = contents(outside)
        self.files = contents(self.root)
        zoo = catalog.open(self.root)
        self.rows = rows_of(zoo)
        self.networks = networks_of(zoo, verified=True)
        assert networks_of(zoo, verified=False) == self.networks
        assert len(self.networks) == 11, len(self.networks)
        assert len(self.rows) == 12
        self.version = zoo.version
        self.outcomes: Counter[str] = Counter()
        self.failures = 0

    def names(self, *folders: str) -> list[str]:
        return [n for n in self.files if n.split("/")[0] in folders]

    def run(self, kind: str, count: int, first: int) -> None:
        attack: Callable[[], str | None] = getattr(self, kind)
        for number in range(first, first + count):
            self.random.seed(f"{kind} {number}")
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                told = attack()
            except Exception:  # noqa: BLE001  whatever it is, it is no clear error
                told = traceback.format_exc(limit=-6)
            faulthandler.cancel_dump_traceback_later()
            if kind == "links" and contents(self.outside) != self.kept:
                told = f"{told or ''}\na file outside the catalogue was changed"
            if told:
                self.failures += 1
                sys.stderr.write(f"FAILED {kind} {number}: {self.what}\n{told}\n" + "\n")
            restore(self.root, self.files, cache=kind in ("shards", "manifests"))
        assert contents(self.outside) == self.kept, "a file outside was changed"

    def mutate(self, name: str, *, as_json: bool = False) -> bool:
        """Damage one file; False if it is the same after all."""
        data = self.files[name]
        folder = name.split("/")[0]
        others = [
            v for k, v in self.files.items() if k != name and k.split("/")[0] == folder
        ]
        if as_json:
            texts = [v for v in others if v.startswith(b"{")]
            how, changed = damaged_json(
                data, self.random.choice(texts or [data]), self.random
            )
        else:
            how, changed = damaged(data, others, self.random)
        self.announce(f"{name}: {how}")
        (self.root / name).write_bytes(changed)
        return changed != data

    def announce(self, what: str) -> None:
        self.what = what
        sys.stderr.write(what[:200].encode("ascii", "replace").decode() + "\n")

    def attempt(self, step: str, action: Callable[[], Any]) -> Any:
        """What an action returns; None if it refuses, which needs a text."""
        try:
            value = action()
        except CatalogError as error:
            text = str(error)
            assert len(text) > 20, f"an error without text: {text!r}"
            assert len(text) < 20_000, f"an error of {len(text)} characters"
            self.outcomes[f"{step} refused"] += 1
            return None
        self.outcomes[f"{step} answered"] += 1
        return value

    def look(
        self, *, rows: str = "same", loaded: str = "same", single: str = "same",
        reported: bool = True,
    ) -> str | None:  # fmt: skip
        """Everything a reader does; what is wrong with what came back.

        ``same`` demands the committed values, ``committed`` that every network that comes
        has them, ``any`` only that nothing crashes.
        """
        zoo = self.attempt("open", lambda: catalog.open(self.root))
        if zoo is not None:
            answer = self.attempt("sql", lambda: rows_of(zoo))
            if answer is not None and rows == "same" and answer != self.rows:
                return f"sql returned {answer}"
            ways = [("load", True, loaded), ("row", False, single)]
            if answer is None:  # the rest needs the same index
                ways = [self.random.choice(ways)] * (self.random.random() < 0.1)
            for step, verified, demand in ways:
                found = self.attempt(step, lambda v=verified: networks_of(zoo, verified=v))
                if found is None or demand == "any":
                    continue
                if demand == "same" and found.keys() != self.networks.keys():
                    return f"{step} returned {sorted(found)}"
                wrong = [k for k, v in found.items() if self.networks.get(k) != v]
                if wrong:
                    return f"{step} returned wrong numbers for {wrong}"
        result = self.attempt("verify", lambda: verify(self.root))
        if reported and result is not None and not result.problems:
            return "verify reported nothing"
        self.outcomes["reported"] += bool(result and result.problems)
        return None

    def shards(self) -> str | None:
        """Weight files: damaged anywhere, or rewritten by another tool."""
        name = self.random.choice(self.names("weights"))
        if self.random.random() < 0.2:
            self.announce(f"{name}: {rewritten(self.root / name, self.random)}")
            changed = (self.root / name).read_bytes() != self.files[name]
        else:
            changed = self.mutate(name)
        if not changed:
            return None
        return self.look(single="any")

    def metadata(self) -> str | None:
        """Metadata that is no longer what the snapshot names."""
        kinds = ("runs", "checkpoints", "tensors", "tensor_stats", "chunks", "measures")
        name = self.random.choice(self.names(*kinds, "tombstones"))
        if self.random.random() < 0.3:
            self.announce(f"{name}: {rewritten(self.root / name, self.random)}")
            changed = (self.root / name).read_bytes() != self.files[name]
        else:
            changed = self.mutate(name)
        return self.look() if changed else None

    def manifests(self) -> str | None:
        """Commit records beside an intact snapshot: reported, and not believed."""
        name = self.random.choice(self.names("manifests"))
        if not self.mutate(name, as_json=self.random.random() < 0.7):
            return None
        return self.look(reported=self.same_json(name) is False)

    def same_json(self, name: str) -> bool:
        try:
            return bool(
                json.loads((self.root / name).read_bytes()) == json.loads(self.files[name])
            )
        except (ValueError, RecursionError):
            return False

    def orphans(self) -> str | None:
        """Commit records alone: no HEAD says what they were."""
        (self.root / "HEAD").unlink()
        shutil.rmtree(self.root / "snapshots")
        name = self.random.choice(self.names("manifests"))
        self.mutate(name, as_json=self.random.random() < 0.8)
        return self.look(rows="any", loaded="committed", single="committed", reported=False)

    def heads(self) -> str | None:
        """HEAD and its snapshot; in half of the trials HEAD has no hash."""
        snapshot = f"snapshots/{self.version}.json"
        if self.random.random() < 0.5:
            name = self.random.choice(["HEAD", snapshot, snapshot])
            changed = self.mutate(
                name, as_json=name != "HEAD" and self.random.random() < 0.5
            )
            without = (self.root / "HEAD").read_bytes() == str(self.version).encode()
            return self.look(reported=False) if changed and not without else None
        (self.root / "HEAD").write_text(f"{self.version}\n")
        self.mutate(snapshot, as_json=self.random.random() < 0.8)
        return self.look(rows="any", loaded="committed", single="committed", reported=False)

    def forged(self) -> str | None:
        """Other content under a commit record that names its hash, as a stranger writes."""
        kinds = ("runs", "checkpoints", "tensors", "tensor_stats", "chunks", "measures")
        name = self.random.choice(self.names(*kinds, "tombstones", "weights", "weights"))
        self.announce(f"forged {name}: {rewritten(self.root / name, self.random)}")
        data = (self.root / name).read_bytes()
        size, digest = len(data), hashlib.sha256(data).hexdigest()
        for path in (self.root / "manifests").iterdir():
            value = json.loads(path.read_bytes())
            for record in (value, *value.get("members", [])):
                for file in record["files"].values():
                    if file["path"] == name:
                        file |= {"bytes": size, "sha256": digest}
                        if name.startswith("weights/"):
                            length = int.from_bytes(data[-8:-4], "little") + 8
                            record["footer_bytes"] = length
                            footer = hashlib.sha256(data[-length:]).hexdigest()
                            record["footer_sha256"] = footer
            path.write_text(json.dumps(value))
        (self.root / "HEAD").unlink()
        shutil.rmtree(self.root / "snapshots")
        loaded = "committed" if name.split("/")[0] in ("weights", "chunks") else "any"
        return self.look(rows="any", loaded=loaded, single="any", reported=False)

    def indexes(self) -> str | None:
        """The cache: it is rebuilt, or the damage is told."""
        restore(self.root, self.files, cache=True)
        name = self.random.choice(self.names("cache"))
        self.mutate(name, as_json=name.endswith(".json") and self.random.random() < 0.5)
        if self.random.random() < 0.3:  # the older index and what is known of it count
            for path in (self.root / "cache").glob("index-*.duckdb"):
                if self.random.random() < 0.5:
                    path.unlink()
        told = self.look(rows="any", loaded="committed", single="any", reported=False)
        if self.random.random() < 0.3:
            self.attempt("commit", lambda: commit(self.root, LAYOUTS[1], 2, "new", 9))
            self.attempt("open again", lambda: rows_of(catalog.open(self.root)))
        return told

    def links(self) -> str | None:
        """A file or folder that is a link out of the catalogue, a pipe, or a loop."""
        names = [n for n in self.files if not n.startswith("cache/")]
        name = self.random.choice(names)
        if self.random.random() < 0.3:
            folders = ["weights", "runs", "manifests", "snapshots", "cache", "writers"]
            name = self.random.choice([*folders, "checkpoints", "measures"])
        path, away = self.root / name, self.outside / "copies" / name
        how = self.random.choice(
            ["copy", "copy", "secret", "pipe", "loop", "zero", "folder"]
        )
        self.announce(f"link {name}: {how}")
        away.parent.mkdir(parents=True, exist_ok=True)
        if how == "copy" and path.exists():
            path.rename(away)
            path.symlink_to(away)
        else:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            if how == "pipe":
                os.mkfifo(path)
            elif how == "folder":
                path.mkdir(parents=True)
            else:
                to = {"secret": self.outside / "secret", "loop": path, "zero": "/dev/zero"}
                path.symlink_to(to.get(how, away))
        before = contents(self.outside)
        told = self.look(rows="same" if how == "copy" else "any", reported=False,
                         loaded="committed", single="committed")  # fmt: skip
        self.attempt("compact", lambda: compact(self.root))
        self.attempt("gc", lambda: collect(self.root, keep=1, grace=0))
        self.attempt("commit", lambda: commit(self.root, LAYOUTS[1], 2, "new", 9))
        if contents(self.outside) != before:
            told = f"{told or ''} something outside was written or deleted"
        shutil.rmtree(self.outside / "copies")
        return told


def limit() -> None:
    """Bound memory, and keep what is expected of a test machine out of the way."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "Detected pickle protocol")
    os.fsync = lambda descriptor: None


def main() -> None:
    folder, seed, *kinds = sys.argv[1:]
    limit()
    trials = Trials(Path(folder), int(seed))
    for kind, count in zip(kinds[::2], kinds[1::2], strict=True):
        trials.run(kind, int(count), int(seed) * 100_000)
    sys.stdout.write(json.dumps({"failures": trials.failures, **trials.outcomes}) + "\n")


if __name__ == "__main__":
    main()
