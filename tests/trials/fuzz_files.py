"""Files for `fuzz_trials`: sound ones whose every text may be hostile, or damaged ones."""

# ruff: noqa: E501
import csv
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from attack_mutations import damaged, damaged_json
from fuzz_texts import Texts

KINDS = (
    "runs",
    "checkpoints",
    "tensors",
    "tensor_stats",
    "chunks",
    "measures",
    "tombstones",
)


class Bomb:
    """A pickle that leaves a file behind if it is run."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


class Files:
    """Writes the files of trials below ``folder``."""

    def __init__(self, folder: Path, texts: Texts) -> None:
        self.folder, self.texts, self.random = folder, texts, texts.random
        self.rate = self.random.choice([0.08, 0.08, 0.2, 0.6])

    def text(self, *valid: str) -> str:
        """A sound text, mostly; now and then any other."""
        if valid and self.random.random() >= self.rate:
            return self.random.choice(valid)
        return self.texts.any(*valid)

    def clean(self, *valid: str) -> str:
        """Such a text without halves of characters, which Arrow and zip refuse to write."""
        return self.text(*valid).encode("utf-8", "replace").decode()

    def name(self, *valid: str) -> str:
        """A name of a file: no slash, no NUL, no more than the system takes."""
        text = self.text(*valid).replace("/", "|").replace("\0", "0")
        data = text.encode("utf-8", "surrogatepass")[:180]
        return os.fsdecode(data).strip(".") or "x"

    def other(self, sound: Any) -> Any:
        """A sound value, mostly; now and then any other value of JSON."""
        return sound if self.random.random() >= self.rate else self.value()

    def value(self) -> Any:
        """Any value of JSON."""
        kinds: list[Callable[[], Any]] = [
            self.text, self.text, lambda: self.random.choice([0, 1, -1, 2**53, 2**63, 10**40]),
            lambda: self.random.choice([0.5, float("nan"), float("inf"), -0.0, 1e308]),
            lambda: self.random.choice([None, True, False, [], {}]),
            lambda: {self.text("a"): self.text("b")}, lambda: [self.text("a"), 1, None],
        ]  # fmt: skip
        return self.random.choice(kinds)()

    def write(self, path: Path, data: bytes) -> None:
        """Write bytes, sometimes damaged."""
        if self.random.random() < self.rate / 2:
            data = damaged(data, [], self.random)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def json(self, path: Path, value: Any) -> None:
        """Write JSON, sometimes with a value changed."""
        data = json.dumps(value).encode()
        if self.random.random() < self.rate:
            data = damaged_json(data, data, self.random)[1]
        self.write(path, data)

    def csv(self, path: Path, rows: list[dict[str, Any]]) -> None:
        """Write a table, gzipped if its name says so."""
        with io.StringIO(newline="") as text:
            writer = csv.writer(text)
            writer.writerow(rows[0])
            writer.writerows(row.values() for row in rows)
            data = text.getvalue().replace("\0", "0").encode("utf-8", "surrogatepass")
        if path.suffix == ".gz":
            data = gzip.compress(data)
        self.write(path, data)

    # ------------------------------------------------------------ foreign files

    def metrics_csv(self) -> list[str]:
        """A table of metrics: hostile headers and cells."""
        names = ["id", "step", "test_accuracy", "lr", "note"]
        names = list(dict.fromkeys(self.text(name) for name in names))
        rows = [
            {
                n: str(i) if n in ("id", "step") else self.text("0.5", "0.25", "")
                for n in names
            }
            for i in range(3)
        ]
        path = self.folder / (self.name("runs") + self.random.choice([".csv", ".csv.gz"]))
        self.csv(path, rows)
        return [str(path), "--format", self.random.choice(["metrics_csv", "auto"])]

    def npz(self) -> list[str]:
        """Member names, npy headers, pickles inside, and a table beside."""
        keyed = self.random.random() < 0.4
        members: dict[str, bytes] = {}
        for i in range(3):
            name = self.clean(f"a|w{i}" if keyed else f"w{i}")
            members[name] = self.npy(np.ones((2, 3), np.float32))
        if self.random.random() < 0.1:
            members["p"] = pickle.dumps(Bomb(f"{self.texts.canary}/npz"))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"[:60000] or "x"), data)
        path = self.folder / f"{self.name('nets')}.npz"
        self.write(path, buffer.getvalue())
        extra: list[str] = []
        if self.random.random() < 0.5:
            key = self.text("id" if keyed else "index")
            table = self.folder / (self.name("networks") + ".csv")
            lr, note = self.text("lr"), self.text("note")
            ids = {name.split("|")[0] for name in members} if keyed else "01"
            self.csv(
                table,
                [{key: i, lr: self.text("0.1"), note: self.text("a")} for i in sorted(ids)],
            )
            extra = ["--metadata", str(table)] * (self.random.random() < 0.5)
        kinds = ["auto"] + (["npz_keyed"] if keyed else ["npz_stacked", "npz_state_dict"])
        return [str(path), "--format", self.random.choice(kinds), *extra]

    def npy(self, values: np.ndarray) -> bytes:
        """One array, now and then with another header."""
        buffer = io.BytesIO()
        np.save(buffer, values)
        data = buffer.getvalue()
        if self.random.random() >= self.rate / 2:
            return data
        shape = self.random.choice(
            ["(2, 3)", "(2,)", "()", "(-1, 3)", self.clean("(2, 3)")]
        )
        kind = self.random.choice(["<f4", "|O", ">f8", "<U3", self.clean("<f4")])
        fortran = self.random.choice(["False", "True", self.clean("False")])
        text = f"{{'descr': {kind!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"
        header = text.encode()[:60000]
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data[128:]

    def npy_matrix(self) -> list[str]:
        """A matrix, its layout, and metrics of its rows."""
        self.write(
            self.folder / "weights.npy", self.npy(np.float32(np.arange(24)).reshape(3, 8))
        )
        layout = [
            {self.text("varname"): self.text("a"), "start_idx": 0, "end_idx": 6,
             "shape": self.text("(2, 3)", "(6,)")},
            {"varname": self.text("b"), "start_idx": self.text("6"), "end_idx": 8,
             "shape": self.text("(2,)")},
        ]  # fmt: skip
        self.csv(self.folder / "layout.csv", layout)
        rows = [
            {"modeldir": self.text(f"/{i}", f"/a/ckpt-{i}"), "step": self.text(str(i)),
             self.text("config.optimizer"): self.text("sgd")}
            for i in range(3)
        ]  # fmt: skip
        rows = [dict(zip(rows[0], row.values(), strict=True)) for row in rows]
        self.csv(self.folder / "metrics.csv", rows)
        return [str(self.folder), "--format", self.random.choice(["npy_matrix", "auto"])]

    def json_vectors(self) -> list[str]:
        """Vectors of weights with columns, and a layout."""
        nets = [
            {self.text("id"): self.text(c), self.text("lr"): self.other(0.5),
             "note": self.text("n"),
             self.text("weights", "w"): [1.5, 2.0, self.other(0.5)]}
            for c in "ab"
        ]  # fmt: skip
        layout = [
            {"name": self.text("a"), "shape": [2]},
            {"name": self.text("b"), "shape": [1]},
        ]
        value: Any = (
            {"layout": layout, "networks": nets} if self.random.random() < 0.6 else nets
        )
        path = self.folder / f"{self.name('nets')}.json"
        self.json(path, value)
        return [str(path), "--format", self.random.choice(["json_vectors", "auto"])]

    def header(self, tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> bytes:
        """A safetensors file; its header is whatever JSON can say."""
        told: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
        at = 0
        for name, values in tensors.items():
            end = at + values.nbytes
            told[name] = {
                "dtype": "F32",
                "shape": list(values.shape),
                "data_offsets": [at, end],
            }
            at = end
        text = json.dumps(told).encode()
        if self.random.random() < self.rate / 2:
            text = damaged_json(text, text, self.random)[1]
        text += b" " * (-len(text) % 8)
        body = b"".join(values.tobytes() for values in tensors.values())
        return len(text).to_bytes(8, "little") + text + body

    def safetensors(self) -> list[str]:
        """Names of tensors and the publisher's own text."""
        for i in range(2):
            tensors = {
                self.text("0.weight"): np.ones((4, 3), np.float32),
                self.text("0.bias"): np.ones(4, np.float32),
            }
            metadata = {
                self.text("lr"): self.text("0.1"),
                self.text("note"): self.text("x"),
            }
            path = self.folder / self.name(f"{i}") / f"{self.name('model')}.safetensors"
            self.write(path, self.header(tensors, metadata))
        return [str(self.folder), "--format", self.random.choice(["safetensors", "auto"])]

    def lora(self) -> list[str]:
        """An adapter with its configuration and the state of its trainer."""
        pair = {
            self.text("q.lora_A.weight"): np.ones((4, 3), np.float32),
            self.text("q.lora_B.weight"): np.ones((2, 4), np.float32),
        }
        place = self.folder / self.random.choice([".", "checkpoint-5", self.name("run")])
        data = self.header(pair, {self.text("learning_rate"): self.text("3e-05")})
        self.write(place / "adapter_model.safetensors", data)
        config = {"r": self.other(4), self.text("target"): self.other("q")}
        config |= {"base": {self.text("a"): self.other(1)}}
        self.json(place / "adapter_config.json", config)
        state = {"global_step": self.other(5), "best_metric": self.other(0.5)}
        self.json(
            place / "trainer_state.json", state | {self.text("epoch"): self.other(1.0)}
        )
        return [str(self.folder), "--format", self.random.choice(["lora", "auto"])]

    def torch(self) -> list[str]:
        """State dicts under hostile names, and pickles that would run."""
        import torch

        path = self.folder / f"{self.name('a')}{self.random.choice(['.pt', '.pth'])}"
        pick = self.random.random()
        state: Any = {
            self.text("0.weight"): torch.ones(4, 3),
            self.text("0.bias"): torch.ones(4),
        }
        if pick < 0.06:
            self.write(path, pickle.dumps(Bomb(f"{self.texts.canary}/torch")))
        elif pick < 0.12:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(
                    "a/data.pkl", pickle.dumps(Bomb(f"{self.texts.canary}/zip"))
                )
                archive.writestr(f"a/{self.clean('version')}", "3\n")
            self.write(path, buffer.getvalue())
        else:
            value = state
            if self.random.random() < 0.5:
                value = {"state_dict": state, self.text("epoch"): self.other(3)}
            buffer = io.BytesIO()
            old = self.random.random() < 0.3
            torch.save(value, buffer, _use_new_zipfile_serialization=not old)
            self.write(path, buffer.getvalue())
        return [str(self.folder), "--format", self.random.choice(["state_dict", "auto"])]

    def ray(self) -> list[str]:
        """A trial of Ray Tune."""
        import torch

        trial = self.folder / self.name("trial")
        settings = {self.text("model::width"): self.other(4), "seed": 1}
        settings["model::type"] = self.other("MLP")
        self.json(trial / "params.json", settings)
        line = {"training_iteration": self.other(1), self.text("test_acc"): self.other(0.5)}
        line[self.text("note")] = self.other("x")
        self.json(trial / "result.json", line)
        buffer = io.BytesIO()
        torch.save({self.text("0.weight"): torch.ones(4, 3)}, buffer)
        self.write(trial / "checkpoint_000001" / "checkpoints", buffer.getvalue())
        return [str(self.folder), "--format", self.random.choice(["ray", "auto"])]

    def exported(self, made: Path) -> list[str]:
        """What an export wrote, with other texts inside."""
        kind = self.random.choice(["safetensors", "npz", "arrow", "folder"])
        rows = [{"run_id": "r", "step": 0, self.text("zoo"): self.other("z")}]
        layout = [
            {"name": self.text("w"), "shape": [2, 3], "axes": [self.text("h"), None],
             "dtype": self.text("float32"), "role": self.text("parameter")}
        ]  # fmt: skip
        values = np.ones((2, 3), np.float32)
        row, laid = (json.dumps(v) for v in (rows[0], layout))
        told = {
            "phasezoo.row": row,
            "phasezoo.layout": laid,
            self.text("note"): self.text("z"),
        }
        if kind == "npz":
            buffer = io.BytesIO()
            table, described = json.dumps(rows).encode(), laid.encode()
            with zipfile.ZipFile(buffer, "w") as archive:
                for name, array in {
                    layout[0]["name"] + ".npy": values[None],
                    "pz_run_id.npy": np.array([self.clean("r")]),
                    "pz_step.npy": np.array([0]),
                    "pz_table.npy": np.frombuffer(table, np.uint8),
                    "pz_layout.npy": np.frombuffer(described, np.uint8),
                }.items():
                    name = str(name).encode("utf-8", "replace").decode()
                    archive.writestr(zipfile.ZipInfo(name[:60000]), self.npy(array))
            self.write(self.folder / "x.npz", buffer.getvalue())
        elif kind == "arrow":
            data = (made / "x.arrow").read_bytes()
            with pa.ipc.open_file(pa.py_buffer(data)) as reader:
                table = reader.read_all()
            names = [self.clean(name) for name in table.column_names]
            metadata = {**(table.schema.metadata or {}), self.clean("a"): self.clean("b")}
            if self.random.random() < self.rate:
                metadata[b"phasezoo.layout"] = laid.encode()
            table = table.rename_columns(names).replace_schema_metadata(metadata)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            self.write(self.folder / "x.arrow", sink.getvalue().to_pybytes())
        elif kind == "folder":
            shutil.copytree(made / "folder", self.folder, dirs_exist_ok=True)
            index = self.folder / "phasezoo.jsonl"
            lines = [json.loads(line) for line in index.read_text().splitlines()]
            lines[0][self.text("path")] = self.text(lines[0]["path"])
            self.write(index, "\n".join(map(json.dumps, lines)).encode())
        else:
            self.write(
                self.folder / "x.safetensors",
                self.header({layout[0]["name"]: values}, told),
            )
        return [str(self.folder), "--format", self.random.choice(["exported", "auto"])]

    def table(self, keys: list[tuple[str, int]]) -> list[str]:
        """A table for `annotate`: csv or Parquet, with hostile columns and metadata."""
        chosen = self.random.choices(keys, k=2)
        names = {self.text("run_id"): [k for k, _ in chosen], self.text("step"): None}
        columns: dict[str, list[Any]] = {}
        for name, ids in names.items():
            columns[name] = ids if ids is not None else [step for _, step in chosen]
        columns[self.text("x")] = self.random.choice(
            [[0.5, 1.5], [self.clean("a"), "b"], [1, None]]
        )
        if self.random.random() < 0.5:
            path = self.folder / f"{self.name('t')}.csv"
            rows = [
                dict(zip(columns, row, strict=True))
                for row in zip(*columns.values(), strict=True)
            ]
            self.csv(path, rows)
        else:
            path = self.folder / f"{self.name('t')}.parquet"
            clean = {
                name.encode("utf-8", "replace").decode(): v for name, v in columns.items()
            }
            table = pa.table(clean).replace_schema_metadata(
                {self.clean("a"): self.clean("b")}
            )
            buffer = io.BytesIO()
            pq.write_table(table, buffer)
            self.write(path, buffer.getvalue())
        return [str(path), "--name", self.texts.argument("sharpness")]

    # ------------------------------------------------------ files of a catalogue

    def forge(self, root: Path, names: list[str]) -> None:
        """Other texts in a metadata file, under commit records that name its hash."""
        name = self.random.choice(names)
        path = root / name
        table = pq.read_table(path.absolute(), partitioning=None)
        metadata = dict(table.schema.metadata or {})
        how = self.random.choice(
            ["cell", "cell", "cell", "column", "column", "rename", "metadata"]
        )
        texts = [c for c in table.column_names if pa.types.is_string(table[c].type)]
        if how == "cell" and texts and len(table):
            column = self.random.choice(texts)
            cells = table[column].to_pylist()
            every = self.random.random() < 0.3
            at = self.random.randrange(len(cells))
            cells = [
                self.clean(str(c)) if every or i == at else c for i, c in enumerate(cells)
            ]
            place = table.column_names.index(column)
            table = table.set_column(place, column, pa.array(cells, pa.string()))
        elif how == "rename":
            names_ = list(table.column_names)
            at = self.random.randrange(len(names_))
            names_[at] = self.clean(names_[at])
            table = table.rename_columns(names_)
        elif how == "column":
            extra = [self.clean("a"), 1, 0.5, True, None][self.random.randrange(5)]
            kind = self.random.choice([
                pa.array([extra] * len(table)),
                pa.array([[self.clean("a")]] * len(table)),
                pa.array([{self.clean("k"): self.clean("v")}] * len(table)),
                pa.array([0] * len(table), pa.timestamp("us", tz=self.random.choice(["UTC", "x"]))),
                pa.array([b"\x1b\xff"] * len(table)),
            ])  # fmt: skip
            table = table.append_column(self.clean("extra"), kind)
        else:
            metadata |= {
                self.clean("a"): self.clean("b"),
                b"pandas": self.clean("{}").encode(),
            }
        pq.write_table(table.replace_schema_metadata(metadata), path.absolute())
        data = path.read_bytes()
        size, digest = len(data), hashlib.sha256(data).hexdigest()
        for record in (root / "manifests").glob("*.json"):
            value = json.loads(record.read_bytes())
            for own in (value, *value.get("members", [])):
                for file in own["files"].values():
                    if file["path"] == name:
                        file |= {"bytes": size, "sha256": digest}
                if (
                    how == "column"
                    and self.random.random() < 0.5
                    and own["measure_columns"]
                ):
                    own["measure_columns"].append(self.text("extra"))
            record.write_text(json.dumps(value))
        (root / "HEAD").unlink(missing_ok=True)
        shutil.rmtree(root / "snapshots", ignore_errors=True)

    def records(self, root: Path, files: dict[str, bytes]) -> None:
        """HEAD, a snapshot or a manifest that says something else."""
        own = [n for n in files if n.split("/")[0] in ("HEAD", "snapshots", "manifests")]
        name = self.random.choice(own)
        data = files[name]
        if name == "HEAD":
            data = self.random.choice(
                [self.text("1 ").encode("utf-8", "surrogatepass"), b"1\n"]
            )
        elif self.random.random() < 0.5:
            data = damaged_json(data, data, self.random)[1]
        else:
            data = json.dumps(self.with_text(json.loads(data))).encode()
        (root / name).write_bytes(data)
        if name != "HEAD" and self.random.random() < 0.6:
            (root / "HEAD").unlink(missing_ok=True)
            if name.startswith("manifests"):
                shutil.rmtree(root / "snapshots", ignore_errors=True)
            else:
                number = name.split("/")[1].removesuffix(".json")
                (root / "HEAD").write_text(f"{number}\n")

    def with_text(self, value: Any) -> Any:
        """JSON with another text, or another key, in one place."""
        places: list[tuple[Any, Any]] = []

        def look(one: Any) -> None:
            pairs = one.items() if isinstance(one, dict) else enumerate(one)
            for key, inner in list(pairs):
                if isinstance(inner, dict | list):
                    look(inner)
                if isinstance(inner, str) or self.random.random() < 0.1:
                    places.append((one, key))

        look(value)
        if places:
            holder, key = self.random.choice(places)
            if isinstance(holder, dict) and self.random.random() < 0.3:
                holder[self.text(str(key))] = holder.pop(key)
            else:
                old = holder[key]
                holder[key] = self.text(old) if isinstance(old, str) else self.value()
        return value

    def cache(self, root: Path) -> None:
        """What can be rebuilt, with other content."""
        folder = root / "cache"
        folder.mkdir(exist_ok=True)
        name = self.random.choice(["latest.json", "columns.json", "README.md", "index"])
        if name == "README.md":
            self.write(root / name, self.text("x").encode("utf-8", "surrogatepass"))
        elif name == "index":
            found = sorted(folder.glob("*.duckdb"))
            if found:
                self.write(
                    found[0], damaged(found[0].read_bytes()[: 1 << 16], [], self.random)[1]
                )
        else:
            path = folder / name
            value = json.loads(path.read_bytes()) if path.exists() else {}
            value = self.with_text(value) if value else {self.text("runs/x"): self.value()}
            self.json(path, value)

    def refit(self, source: Path, path: Path, key: str) -> None:
        """The file of a fitted probe or generator, with other texts in its header."""
        data = source.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
        told = header["__metadata__"]
        pick = self.random.random()
        if pick < 0.75:
            inner = json.loads(told[key])
            if self.random.random() < 0.5:
                text = json.dumps(inner).encode()
                changed = damaged_json(text, text, self.random)[1].decode(
                    "utf-8", "replace"
                )
            else:
                changed = json.dumps(self.with_text(inner))
            told[key] = changed
        elif pick < 0.9:
            names = [n for n in header if n != "__metadata__"]
            if names:
                name = self.random.choice(names)
                header[self.text(name)] = header.pop(name)
        sealed = (
            self.random.random() < 0.8
        )  # with the digest that a stranger would put there
        told["digest"] = "0" * 64 if sealed else told["digest"]
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        data = len(text).to_bytes(8, "little") + text + body
        if sealed:
            data = data[:35] + hashlib.sha256(data).hexdigest().encode() + data[99:]
        self.write(path, data)


def random_of(entry: str, seed: int, number: int) -> Random:
    """The draws of one trial, whatever came before it."""
    return Random(f"{entry} {seed} {number}")
