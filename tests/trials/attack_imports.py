"""Attacks of `test_attack` on imports: ``attack_imports.py FOLDER SEED KIND COUNT``.

A foreign file is damaged and imported: a CatalogError that names something of the
source and a catalogue as before, or an import that verifies. Nothing is ever run.
"""

import csv
import faulthandler
import gzip
import io
import json
import pickle
import shutil
import sys
import traceback
import zipfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from attack_mutations import damaged, damaged_json
from attack_trials import SECONDS, contents, limit, restore
from safetensors.numpy import save_file

import catalog
from catalog import CatalogError
from catalog.importing import import_source
from catalog.upkeep.verify import verify

NUMPY = ("npz", "npy", "safetensors", "lora", "csv", "json")
TORCH = ("pt", "ray")


class Bomb:
    """A pickle that leaves a file behind if it is run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def net(seed: int) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    return {
        "0.weight": draws.normal(size=(4, 3)).astype(np.float32),
        "0.bias": draws.normal(size=4).astype(np.float32),
    }


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    with io.StringIO() as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def plant(kind: str, folder: Path) -> str:
    """A small source; the format to read it with."""
    folder.mkdir()
    if kind == "npz":
        arrays = {name: np.stack([net(i)[name] for i in range(3)]) for name in net(0)}
        np.savez_compressed(folder / "nets.npz", **arrays)
        table(folder / "networks.csv", [{"index": i, "lr": 0.1 * i} for i in range(3)])
        return "npz_stacked"
    if kind == "npy":
        np.save(folder / "weights.npy", np.float32(np.arange(24).reshape(3, 8)))
        shapes = {"a": (2, 3), "b": (2,)}
        rows = [
            {"varname": "a", "start_idx": 0, "end_idx": 6, "shape": str(shapes["a"])},
            {"varname": "b", "start_idx": 6, "end_idx": 8, "shape": str(shapes["b"])},
        ]
        table(folder / "layout.csv", rows)
        table(
            folder / "metrics.csv.gz", [{"modeldir": f"/{i}", "step": i} for i in range(3)]
        )
        return "npy_matrix"
    if kind == "safetensors":
        for i in range(2):
            save_file(net(i), folder / f"{i}.safetensors", metadata={"lr": "0.1"})
        return "safetensors"
    if kind == "lora":
        pair = {
            "q.lora_A.weight": net(0)["0.weight"],
            "q.lora_B.weight": np.ones((2, 4), "f4"),
        }
        save_file(pair, folder / "adapter.safetensors", metadata={"learning_rate": "3e-05"})
        (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "x": {"y": [1]}}))
        return "lora"
    if kind == "csv":
        rows = [{"id": c, "step": s, "test_accuracy": s / 9} for c in "ab" for s in (0, 5)]
        table(folder / "runs.csv.gz", rows)
        return "metrics_csv"
    if kind == "json":
        nets = [{"id": c, "lr": 0.1, "weights": [1.5, 2.0, -0.5]} for c in "ab"]
        layout = [{"name": "a", "shape": [2]}, {"name": "b", "shape": [1]}]
        (folder / "nets.json").write_text(json.dumps({"layout": layout, "networks": nets}))
        return "json_vectors"
    import torch

    state = {name: torch.from_numpy(values) for name, values in net(0).items()}
    if kind == "pt":
        torch.save({"state_dict": state, "epoch": 3}, folder / "a.pt")
        torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
        return "state_dict"
    trial = folder / "trial" / "checkpoint_000001"
    trial.mkdir(parents=True)
    torch.save(state, trial / "checkpoints")
    (trial.parent / "params.json").write_text(json.dumps({"model::width": 4, "seed": 1}))
    result = {"training_iteration": 1, "test_acc": 0.5, "test_loss": 1.0}
    (trial.parent / "result.json").write_text(json.dumps(result) + "\n")
    return "ray"


class Imports:
    """Sources, a catalogue that has one network, and what became of every mutant."""

    def __init__(self, folder: Path, kinds: tuple[str, ...]) -> None:
        self.root, self.sources = folder / "zoo", folder / "sources"
        self.sources.mkdir()
        self.mark = folder / "ran"
        self.formats = {kind: plant(kind, self.sources / kind) for kind in kinds}
        self.intact = {kind: contents(self.sources / kind) for kind in kinds}
        (folder / "first").mkdir()
        np.savez(folder / "first" / "first.npz", **net(7))
        catalog.open(self.root, create=True)
        import_source(self.root, folder / "first", format="npz_state_dict", zoo="first")
        for kind in kinds:  # the sources are sound
            copy = folder / f"zoo-{kind}"
            assert import_source(copy, self.path(kind), format=self.formats[kind]).imported
        catalog.open(self.root).sql("SELECT 1")  # the index
        self.before = contents(self.root)
        self.outcomes: Counter[str] = Counter()

    def path(self, kind: str) -> Path:
        folder = self.sources / kind
        return folder / "runs.csv.gz" if kind == "csv" else (
            folder / "nets.json" if kind == "json" else folder
        )  # fmt: skip

    def mutate(self, kind: str, random: Random) -> str:
        """Damage one file of a source; packed files inside as well."""
        files = self.intact[kind]
        name = random.choice(list(files))
        data, others = files[name], [v for k, v in files.items() if k != name]
        packed = name.endswith(".gz") and random.random() < 0.6
        zipped = name.endswith((".npz", ".pt")) and random.random() < 0.6
        if name.endswith(".json") and random.random() < 0.7:
            how, data = damaged_json(data, data, random)
        elif packed:
            how, data = damaged(gzip.decompress(data), others, random)
            data = gzip.compress(data)
        elif zipped:
            how, data = self.zipped(data, random)
        elif random.random() < 0.1:
            how, data = "bomb", pickle.dumps(Bomb(self.mark))
        else:
            how, data = damaged(data, others, random)
        (self.sources / kind / name).write_bytes(data)
        return f"{kind}/{name}: {how}"

    def zipped(self, data: bytes, random: Random) -> tuple[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        name = random.choice(list(members))
        how, members[name] = damaged(members[name], list(members.values()), random)
        if random.random() < 0.1:
            how, members[name] = "bomb", pickle.dumps(Bomb(self.mark))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            for member, raw in members.items():
                archive.writestr(member, raw)
        return f"{name} {how}", out.getvalue()

    def committed(self, files: dict[str, bytes] | None = None) -> dict[str, bytes]:
        files = contents(self.root) if files is None else files
        return {k: v for k, v in files.items() if not k.startswith("cache/")}

    def attack(self, kind: str) -> str | None:
        try:
            import_source(self.root, self.path(kind), format=self.formats[kind], zoo="new")
        except CatalogError as error:
            if not 20 < len(str(error)) < 20_000:
                return f"an error of {len(str(error))} characters"
            self.outcomes[f"{kind} refused"] += 1
            if self.committed() != self.committed(self.before):
                return "the catalogue changed although the import was refused"
        else:
            self.outcomes[f"{kind} imported"] += 1
            found = verify(self.root).problems
            if found:
                return f"{found}"
            zoo = catalog.open(self.root)
            arches = zoo.sql("SELECT DISTINCT arch_id FROM models WHERE row IS NOT NULL")
            for (arch,) in arches.fetchall():
                zoo.load(f"arch_id = '{arch}'", verify=True, lossy=True)
        return "code was run" if self.mark.exists() else None


def main() -> None:
    folder, seed, which, count = sys.argv[1:]
    limit()
    imports = Imports(Path(folder), {"numpy": NUMPY, "torch": TORCH}[which])
    random, failures = Random(), 0
    for number in range(int(count)):
        random.seed(f"{which} {seed} {number}")
        kind = random.choice(list(imports.formats))
        what = imports.mutate(kind, random)
        sys.stderr.write(what[:200].encode("ascii", "replace").decode() + "\n")
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            told = imports.attack(kind)
        except Exception:  # noqa: BLE001  whatever it is, it is no clear error
            told = traceback.format_exc(limit=-6)
        faulthandler.cancel_dump_traceback_later()
        if told:
            failures += 1
            sys.stderr.write(f"FAILED {which} {number}: {what}\n{told}\n" + "\n")
        if contents(imports.root) != imports.before:
            shutil.rmtree(imports.root / "writers", ignore_errors=True)
            restore(imports.root, imports.before, cache=True)
        restore(imports.sources / kind, imports.intact[kind], cache=True)
    sys.stdout.write(json.dumps({"failures": failures, **imports.outcomes}) + "\n")


if __name__ == "__main__":
    main()
