"""Fuzzed texts and files: ``fuzz_trials.py FOLDER SEED ENTRY FIRST COUNT [ENTRY FIRST COUNT]...``

Each trial is one text or file where it enters, given to the command itself in this process.
What comes of it is exit 0, 1 or 2 with a message; nothing is executed, no file is written
outside, no traceback and no character that acts is printed. Before each trial a line says
which it is, so that a crash or a hang is traced; ``ENTRY NUMBER SEED`` repeats one alone.
"""

# ruff: noqa: E501
import contextlib
import faulthandler
import io
import itertools
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from attack_trials import contents, restore
from fuzz_files import KINDS, Files, random_of
from fuzz_texts import Texts
from fuzz_watch import Watch, acting, listing

import catalog
from catalog import CatalogError, Population
from catalog.console.outlet import install, note
from catalog.console.program import main as phasezoo
from catalog.index import spill
from zoo.architectures import MLP
from zoo.run import Run

MEMORY, SECONDS = 12 << 30, 300
VERBS = [
    "sql", "show", "export", "schema", "verify", "report", "annotate", "rm", "gc", "compact",
    "versions", "import", "recipes", "train", "measure", "downstream", "phases", "probe",
    "generate", "search", "lineage",
]  # fmt: skip
WHERE = [
    "zoo = 'alpha' AND test_accuracy > 0.5", "width IN (4, 8) ORDER BY run_id LIMIT 3", "true",
    "step = steps AND list_contains(['a'], zoo)", "run_id LIKE 'alpha%' AND row IS NOT NULL",
]  # fmt: skip
QUERIES = [
    "SELECT zoo, count(*) FROM models GROUP BY zoo ORDER BY 1",
    "SELECT run_id, test_accuracy FROM models WHERE width = 4 LIMIT 5",
    "WITH a AS (SELECT * FROM runs) SELECT count(*) FROM a JOIN checkpoints USING (run_id)",
    "FROM measures", "DESCRIBE models", "SUMMARIZE runs", "SHOW TABLES", "FROM tensor_stats",
    "PIVOT (SELECT zoo, width FROM runs) ON width IN (4, 8) USING count(*)",
    "EXPLAIN SELECT 1", "SELECT unnest(parents) FROM runs", "SELECT {'a': zoo} FROM runs",
]  # fmt: skip
TARGETS = ["test_accuracy", "gap=train_accuracy - test_accuracy", "test_*", "class_name"]
Command = list[str] | Callable[[], Any]


def build(root: Path) -> None:
    """Two zoos with weights, a measure, classes with names, and what was removed."""
    n, rng = 48, np.random.default_rng(0)
    network = MLP((3, 4))
    layout = network.layout
    task = json.dumps({"name": "digits", "classes": 10})
    store = catalog.open(root, create=True)
    for zoo, width in (("alpha", 4), ("beta-zoo", 8)):
        ids = [f"{zoo}{i:03}" for i in range(n)]
        keys = pa.table({"run_id": ids, "step": [10] * n})
        tensors = {
            p.name: rng.standard_normal((n, *p.shape)).astype(np.float32) for p in layout
        }
        accuracy = (1 / (1 + np.exp(-tensors["layer0.bias"].sum(1)))).tolist()
        runs = {
            "run_id": ids, "zoo": [zoo] * n, "source": ["trained"] * n, "width": [width] * n,
            "load": [float(i % 3) for i in range(n)], "steps": [10] * n,
            "temperature": [float(i % 2) for i in range(n)], "load_axis": ["width"] * n,
            "temperature_axis": ["lr"] * n, "cell": [f"c{i % 6}" for i in range(n)],
            "class_name": [f"class {i % 8}" for i in range(n)], "task_name": ["digits"] * n,
            "architecture": [json.dumps(network.config())] * n, "task": [task] * n,
            "config": [
                json.dumps(Run(zoo, "digits", network.config(), 10, (10,), seed=i).config())
                for i in range(n)
            ],
        }  # fmt: skip
        points = {
            "run_id": ids, "step": [10] * n, "test_accuracy": accuracy,
            "train_accuracy": accuracy, "validation_accuracy": accuracy,
        }  # fmt: skip
        population = Population.from_tensors(tensors, layout, keys)
        with store.writer() as writer:
            writer.commit(pa.table(runs), pa.table(points), population)
            known = {name: keys[name] for name in keys.column_names}
            curve = json.dumps({"0.0": 0.1, "0.5": 0.2, "0.9": 0.8})
            for name, columns in {
                "sharpness": {"sharpness": accuracy},
                "mode_connectivity": {"mode_connectivity": [-0.1] * n},
                "cka": {"logit_cka": [0.9] * n}, "scores": {"evaluated_train_loss": accuracy},
                "pruning": {"prune_curve": [curve] * n, "prune_cliff": accuracy},
            }.items():  # fmt: skip
                table = pa.table({**known, **columns})
                writer.commit_measures(table, name, {"file": "x.csv"})
    from catalog.upkeep.removal import remove

    remove(catalog.open(root), "run_id = 'beta-zoo007'")
    catalog.open(root).sql("SELECT count(*) FROM models").fetchall()


def _no_worker(*arguments: Any, **options: Any) -> None:
    raise CatalogError("No worker is started in these trials; stay in this process.")


class Trials:
    """Folders, a catalogue, and what became of every trial."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed, self.folder = seed, folder
        self.root, self.made = folder / "work" / "zoo", folder / "made"
        self.out, self.canary = folder / "work" / "out", folder / "canary"
        self.source = folder / "work" / "source"
        for path in (self.out, self.canary, self.made, folder / "home", folder / "tmp"):
            path.mkdir(parents=True)
        os.environ |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        for name in ("PHASEZOO_HOME", "COLUMNS"):
            os.environ.pop(name, None)
        build(self.root)
        os.chdir(self.out)
        self.files = contents(self.root)
        self.places = [self.canary, folder / "home", self.made]
        self.exits: list[Any] = []
        self._prepared: set[str] = set()
        self.control = os.fdopen(os.dup(1), "w")
        self.printed = [
            os.open(folder / f"printed{i}", os.O_RDWR | os.O_CREAT) for i in (1, 2)
        ]
        for own, descriptor in zip(self.printed, (1, 2), strict=True):
            os.dup2(own, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(i, "w", closefd=False), "utf-8", write_through=True)
            for i in (1, 2)
        )
        install()
        spill._own_folder.cache_clear()  # that of the imports is elsewhere
        tempfile.tempdir = str(folder / "tmp")
        self.watch = Watch([folder / "work", folder / "tmp", folder / "printed1"])

    def run(self, entry: str, first: int, count: int) -> None:
        """Run trials of one entry place."""
        make: Callable[[Texts, Files], list[Command]] = getattr(self, entry)
        self.prepare(entry)
        before = [listing(place) for place in self.places]
        for number in range(first, first + count):
            random = random_of(entry, self.seed, number)
            texts = Texts(random, str(self.canary))
            self.tell(trial=[entry, number])
            shutil.rmtree(self.source, ignore_errors=True)
            self.source.mkdir()
            told, commands = "", []
            try:
                commands = make(texts, Files(self.source, texts))
                for command in commands:
                    told = told or self.attempt(command)
            except Exception:  # noqa: BLE001  a fault of this script is to be seen as well
                told = traceback.format_exc(limit=-6)
            if not told and [listing(place) for place in self.places] != before:
                told = f"something was written: {list(map(listing, self.places))!r:.500}"
            shown = [c if isinstance(c, list) else repr(c) for c in commands]
            failed = {"failed": told[-4000:], "commands": shown} if told else {}
            self.tell(done=[entry, number], exits=self.exits, **failed)
            self.exits = []
            self.clear()

    def tell(self, **message: Any) -> None:
        """Say something to the process that started this one."""
        self.control.write(json.dumps(message) + "\n")
        self.control.flush()

    def clear(self) -> None:
        """Put everything back that a trial may change."""
        now = contents(self.root)
        if now != self.files:
            shutil.rmtree(self.root / "writers", ignore_errors=True)
            restore(self.root, self.files, cache=True)
        for path in self.out.iterdir():
            shutil.rmtree(
                path
            ) if path.is_dir() and not path.is_symlink() else path.unlink()
        for place in self.places[:2]:
            for path in place.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def attempt(self, command: Command) -> str:
        """Run one command; what is wrong with what came of it, or nothing."""
        for own in self.printed:
            os.ftruncate(own, 0)
            os.lseek(own, 0, os.SEEK_SET)
        code: Any = 0
        faulthandler.dump_traceback_later(SECONDS, exit=True, file=self.control)
        self.watch.seen = []
        self.watch.on = True
        told = ""
        try:
            if isinstance(command, list):
                phasezoo(command)
            else:
                command()
        except SystemExit as error:
            code = error.code or 0
        except CatalogError as error:
            note(f"Error: {str(error)!r}")
            code = 1
        except Exception:  # noqa: BLE001  whatever it is, it is no message
            told = traceback.format_exc(limit=-8)
        finally:
            self.watch.on = False
            faulthandler.cancel_dump_traceback_later()
        out, err = (os.pread(own, 1 << 24, 0) for own in self.printed)
        self.exits.append(code)
        return told or self.judged(command, code, out, err)

    def judged(self, command: Command, code: Any, out: bytes, err: bytes) -> str:
        """What is wrong with an exit code and an output."""
        if code not in (0, 1, 2):
            return f"exit {code!r}"
        if code and not (err.strip() or out.strip()):  # verify tells on stdout
            return f"exit {code} without a message"
        if b"Traceback (most" in err or b"fault of phasezoo" in err:
            return err.decode("utf-8", "replace")[-3000:]
        for stream in (out, err):
            if found := acting(stream):
                return found
        if len(err) > 100_000:
            return f"an error of {len(err)} bytes"
        words = command if isinstance(command, list) else []
        pairs = itertools.pairwise(words)
        asked = any(b == "--json" and not a.startswith("-") for a, b in pairs)
        if code == 0 and asked:
            try:
                json.loads(out)
            except ValueError as error:
                if not out.startswith((b"Usage", b"Error")):
                    return f"no JSON: {error}: {out[:200]!r}"
        if self.watch.seen:
            return "; ".join(self.watch.seen[:5])
        return ""

    def zoo(self, *arguments: str) -> list[str]:
        """Arguments of a command on the catalogue."""
        return [*arguments, "--catalog", str(self.root)]

    @staticmethod
    def hurry() -> None:
        """Leave out what costs most of a trial: starting threads."""
        connect = duckdb.connect

        def alone(*arguments: Any, **options: Any) -> Any:
            config = {"threads": 1, **options.pop("config", {})}
            return connect(*arguments, config=config, **options)

        duckdb.connect = alone  # type: ignore[assignment]

    @contextlib.contextmanager
    def workers(self) -> Iterator[None]:
        """Allow worker processes, which trials do not have."""
        import zoo.workers.pool

        zoo.workers.pool._Worker = self.worker  # type: ignore[misc]
        yield
        zoo.workers.pool._Worker = _no_worker  # type: ignore[assignment,misc]

    def prepare(self, entry: str) -> None:
        """Make what an entry place needs, and import what it imports, before it is watched."""
        import zoo.workers.pool

        if not self._prepared:
            self.worker = zoo.workers.pool._Worker
        zoo.workers.pool._Worker = _no_worker  # type: ignore[assignment,misc]
        for command in (
            ["show", "alpha"], ["sql", "FROM models"], ["sql", "SELEC"], ["schema"], ["x"],
            ["report", "--to", "r.html"], ["train", "nothing"], ["probe", "nothing", "--target", "x"],
            ["generate", "nothing"], ["lineage"], ["phases", "alpha"], ["measure", "alpha"],
            ["probe", "statistics", "--target", "test_accuracy", "--to", str(self.made / "p.safetensors")],
            ["search", "class 1", "--target", "class_name", "--encoder", "ngrams"],
            ["export", "--where", "zoo = 'alpha'", "--to", str(self.made / "x.arrow")],
            ["export", "--where", "zoo = 'alpha'", "--to", f"{self.made}/folder/"],
            ["import", str(self.root), "--zoo", "x"], ["downstream", "alpha"],
        ):  # fmt: skip
            if not self._prepared:
                told = self.attempt(self.zoo(*command) if command != ["x"] else command)
                self.tell(
                    prepared=command[0], told=told[-2000:] if "Traceback" in told else ""
                )
        if not self._prepared:
            (text,) = (self.root / "probes").glob("text*")
            shutil.copy(text, self.made / "t.safetensors")
            shutil.rmtree(self.root / "probes")
            restore(self.root, self.files, cache=True)
        if entry == "generators" and entry not in self._prepared:
            self.prepare_generators()
        self._prepared |= {entry, ""}
        self.exits = []
        self.clear()

    # ------------------------------------------------------ texts on the command line

    def ids(self, texts: Texts, files: Files) -> list[Command]:
        """Names of zoos, runs, shards, recipes, probes, generators, verbs and options."""
        valid = (
            "alpha",
            "alpha003",
            "alpha003@10",
            "beta-zoo",
            "digits_mlp_phases",
            "statistics",
        )
        text, random = texts.argument(*valid), texts.random
        kinds: list[list[str]] = [
            self.zoo("show", text), self.zoo("show", text, "--json"),
            self.zoo("export", text, "--to", "x.npz", "--force"), self.zoo("phases", text),
            self.zoo("measure", text), self.zoo("downstream", text),
            ["recipes", text], self.zoo("train", text), self.zoo("search", text, "--probe", text),
            self.zoo("probe", text, "--target", "test_accuracy"), self.zoo("generate", text),
            self.zoo("import", text, "--zoo", "new"), self.zoo("annotate", text, "--name", "x"),
            [text], [random.choice(VERBS), text], [random.choice(VERBS), f"--{text}"],
            ["sql", "FROM runs", "--catalog", text], ["verify", "--catalog", text],
            self.zoo("search", text, "--probe", str(self.made / "t.safetensors")),
            self.zoo("probe", "apply", text),
        ]  # fmt: skip
        return [random.choice(kinds)]

    def where(self, texts: Texts, files: Files) -> list[Command]:
        """Conditions."""
        text = texts.argument(*WHERE)
        if texts.random.random() < 0.4:
            text = texts.sql().encode("utf-8", "replace").decode().replace("\0", "")
        kinds = [
            self.zoo("rm", text), self.zoo("lineage", "--where", text),
            self.zoo("export", "--where", text, "--to", "x.npz"),
            self.zoo("probe", "linear", "--target", "test_accuracy", "--where", text),
            self.zoo("generate", "pca_gaussian", "--where", text),
            self.zoo("measure", "alpha", "--where", text),
            self.zoo("probe", "apply", str(self.made / "p.safetensors"), "--where", text),
        ]  # fmt: skip
        return [texts.random.choice(kinds)]

    def queries(self, texts: Texts, files: Files) -> list[Command]:
        """Queries."""
        text = texts.argument(*QUERIES)
        if texts.random.random() < 0.5:
            text = texts.sql().encode("utf-8", "replace").decode().replace("\0", "")
        json_ = ["--json"] if texts.random.random() < 0.4 else []
        return [self.zoo("sql", text, *json_)]

    def options(self, texts: Texts, files: Files) -> list[Command]:
        """Values of options."""
        random, place = texts.random, self.source / "nets.npz"
        np.savez(place, w=np.ones((2, 3), np.float32))
        importing = {
            "--format": ("npz_stacked",), "--zoo": ("new",), "--license": ("MIT",),
            "--metadata": ("x.csv",), "--rename": ("a=b", "index=i"), "--percent": ("lr",),
            "--run": ("(?P<run>.*)/e(?P<step>[0-9]+)",), "--load": ("width",), "--axes": ("chain",),
            "--temperature": ("lr",),
        }  # fmt: skip
        measuring = {
            "--metric": ("hessian",), "--set": ("hessian.samples=10", "cka.samples=5"),
            "--steps": ("last",), "--task": ("digits",), "--device": ("cpu", "cuda:9"),
            "--architecture": ('{"name": "mlp", "sizes": [4, 3]}',), "--seed": ("1",),
            "--data": (".",), "--workers": ("1",),
        }  # fmt: skip
        generating = {
            "--set": ("components=4", "preset=paper", "schedule={\"iterations\": 5}"),
            "--condition": ("test_accuracy=0.5,0.9",), "--calibrate": ("head",), "-n": ("3",),
            "--guidance": ("1",), "--temperature": ("0.5",), "--restarts": ("1",),
            "--nulls": ("2",), "--images": ("5",), "--steps": ("all",), "--best-of": ("2",),
        }  # fmt: skip
        probing = {
            "--set": ("alphas=[1.0]", "model=ridge"), "--by": ("run", "cell"), "--folds": ("2",),
            "--layer": ("auto", "layer0.weight"), "--relative": ("quantile",), "--task": ("auto",),
            "--seeds": ("1",), "--steps": ("all",),
        }  # fmt: skip
        kinds: list[tuple[list[str], dict[str, tuple[str, ...]]]] = [
            (self.zoo("import", str(place)), importing),
            (self.zoo("import", str(place), "--zoo", "new"), importing),
            (self.zoo("measure", "alpha"), measuring),
            (self.zoo("downstream", "alpha", "--only", texts.argument("average", "prune")), {}),
            (self.zoo("train", "digits_mlp_seeds"),
             {"--memory": ("8GB",), "--device": ("cpu",), "--data": (".",), "--limit": ("1",),
              "--text": ("x.txt",)}),
            (self.zoo("phases", "alpha"), {"--step": ("last", "10"), "--classes": ("10",),
             "--train-loss": ("0.1",), "--cka": ("0.5",), "--connectivity": ("-0.1",)}),
            (self.zoo("generate", random.choice(["pca_gaussian", "deepweightflow"])), generating),
            (self.zoo("probe", random.choice(["linear", "statistics", "tucker"]), "--target",
             "test_accuracy", "--where", "false"), probing),
            (self.zoo("gc", "--dry-run"), {"--keep": ("1",), "--grace": ("0",), "--waste": ("0",)}),
            (self.zoo("sql", "FROM runs"), {"--at": ("1",), "--rows": ("3",),
             "--to": ("x.csv", "x.parquet", "x.json")}),
            (self.zoo("sql", "SELECT 1"), {"--allow": (".", str(self.out))}),
            (self.zoo("export", "alpha003"), {"--to": ("x.npz",), "--kind": ("npz", "pt")}),
            (self.zoo("search", "x", "--target", "class_name"), {"--encoder": ("ngrams",),
             "--top": ("3",)}),
            (self.zoo("lineage"), {"--direction": ("centre",), "--apart": ("0.3",)}),
            (self.zoo("report"), {"--to": ("r.html",)}),
        ]  # fmt: skip
        command, known = random.choice(kinds)
        if known:
            option = random.choice(list(known))
            value = texts.argument(*known[option])
            if option in ("--to", "--data", "--text"):  # nothing is written outside of here
                value = files.name(*known[option])
            command = [*command, option, value]
        return [command]

    def targets(self, texts: Texts, files: Files) -> list[Command]:
        """What a probe shall predict."""
        text = texts.argument(*TARGETS)
        if texts.random.random() < 0.3:
            words = texts.sql().encode("utf-8", "replace").decode().replace("\0", "")
            text = f"x={words}"
        if texts.random.random() < 0.1:
            return [self.zoo("search", "x", "--target", text, "--encoder", "ngrams")]
        return [self.zoo("probe", "linear", "--target", text)]

    def environment(self, texts: Texts, files: Files) -> list[Command]:
        """Environment variables that commands read."""
        names = [
            "PHASEZOO_HOME",
            "COLUMNS",
            "LINES",
            "NO_COLOR",
            "PHASEZOO_CATALOG",
            "LANG",
        ]
        name = texts.random.choice(["PHASEZOO_HOME", *names])
        value = texts.argument(str(self.root), "phasezoo-data")
        command = texts.random.choice([["sql", "FROM runs"], ["show", "alpha"], ["versions"],
                                       ["sql", "--help"], ["verify"], ["schema"]])  # fmt: skip

        def run() -> None:
            os.environ[name] = value
            try:
                phasezoo(command)
            finally:
                del os.environ[name]

        return [run]

    # ------------------------------------------------------------- files to import

    def imported(self, arguments: list[str], texts: Texts) -> list[Command]:
        """An import, and a look at what it brought."""
        name = (
            ["--zoo", texts.argument("new", "alpha")] if texts.random.random() < 0.7 else []
        )
        look = texts.random.choice([["show", "new"], ["sql", "FROM models"], ["schema"]])
        return [self.zoo("import", *arguments, *name), self.zoo(*look)]

    def csv(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.metrics_csv(), texts)

    def npz(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.npz(), texts)

    def npy(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.npy_matrix(), texts)

    def json(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.json_vectors(), texts)

    def safetensors(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.safetensors(), texts)

    def lora(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.lora(), texts)

    def torch(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.torch(), texts)

    def ray(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.ray(), texts)

    def exported(self, texts: Texts, files: Files) -> list[Command]:
        return self.imported(files.exported(self.made), texts)

    def tables(self, texts: Texts, files: Files) -> list[Command]:
        keys = [(f"alpha{i:03}", 10) for i in range(5)]
        look = texts.random.choice(
            [["show", "alpha"], ["sql", "FROM measures"], ["schema"]]
        )
        return [self.zoo("annotate", *files.table(keys)), self.zoo(*look)]

    # ------------------------------------------------------- files of a catalogue

    def looked_at(self, texts: Texts) -> list[Command]:
        """Two things that somebody does with a stranger's catalogue."""
        kinds = [
            ["sql", "FROM models"], ["sql", "FROM measures"], ["sql", "FROM tensors"], ["schema"],
            ["show", "alpha"], ["show", "alpha003"], ["show", "alpha003@10"], ["versions"],
            ["verify"], ["verify", "--repair"], ["report", "--to", "r.html"], ["compact"], ["gc", "--grace", "0"],
            ["export", "--where", "zoo = 'alpha' LIMIT 3", "--to", "x/"], ["lineage"],
            ["rm", "zoo = 'alpha'", "--yes"], ["phases", "alpha"], ["measure", "alpha"],
            ["probe", "linear", "--target", "test_accuracy"], ["sql", "FROM models", "--json"],
            ["export", "alpha003", "--to", "x.npz"], ["show", "alpha003", "--json"],
            ["probe", "apply", str(self.made / "p.safetensors")], ["phases", "alpha"],
            ["build"], ["run_of"],
        ]  # fmt: skip
        ours = {"build": self.built, "run_of": self.run_again}
        chosen = texts.random.sample(kinds, 2)
        return [ours[c[0]] if c[0] in ours else self.zoo(*c) for c in chosen]

    def built(self) -> None:
        """What a user of Python does with a network."""
        import zoo

        zoo.build(catalog.open(self.root).load("zoo = 'alpha' LIMIT 2"), 0)

    def run_again(self) -> None:
        """What a worker does with the row of a network, before it measures."""
        from zoo.engine.stack import build_architecture
        from zoo.stored import run_of

        rows = (
            catalog.open(self.root).sql("FROM models LIMIT 3").to_arrow_table().to_pylist()
        )
        for row in rows:
            build_architecture(dict(run_of(row, None, None).architecture))

    def parquet(self, texts: Texts, files: Files) -> list[Command]:
        names = [n for n in self.files if n.split("/")[0] in KINDS]
        files.forge(self.root, names)
        return self.looked_at(texts)

    def records(self, texts: Texts, files: Files) -> list[Command]:
        files.records(self.root, self.files)
        return self.looked_at(texts)

    def cache(self, texts: Texts, files: Files) -> list[Command]:
        files.cache(self.root)
        keys = [(f"alpha{i:03}", 10) for i in range(5)]
        Files(self.source, texts).csv(
            self.source / "t.csv", [{"run_id": k, "x": i} for i, (k, _) in enumerate(keys)]
        )
        writing = self.zoo("annotate", str(self.source / "t.csv"), "--name", "x")
        return [*self.looked_at(texts)[:1], writing, self.zoo("sql", "FROM runs")]

    # ----------------------------------------------------------- fitted things

    def probes(self, texts: Texts, files: Files) -> list[Command]:
        random = texts.random
        source = self.made / random.choice(["p.safetensors", "t.safetensors"])
        path = self.source / f"{files.name('p')}.safetensors"
        files.refit(source, path, "probe")
        kinds = [
            self.zoo("probe", "apply", str(path)),
            self.zoo("probe", "apply", str(path), "--where", "zoo = 'alpha'", "--json"),
            self.zoo("search", "class 1", "--probe", str(path)),
            self.zoo("probe", "statistics", "--target", "test_accuracy", "--to", str(path)),
        ]
        return [
            random.choice(
                kinds[:2] if source.name[0] == "p" and random.random() < 0.6 else kinds
            )
        ]

    def prepare_generators(self) -> None:
        """A small zoo of digits networks, fitted generators, and a report."""
        import generators.generating.generate
        from generators.registry import generator_named
        from zoo.recipe import Axis, Recipe
        from zoo.training.train import train

        recipe = Recipe(
            name="seeds", summary="digits MLPs that differ in their seed", paper="none",
            cost="seconds", task="digits", architecture="mlp", load=Axis("width", (6,)),
            temperature=Axis("lr", (0.05,)), seeds=range(150), steps=60, checkpoints=(1.0,),
            settings={"batch_size": 32, "schedule": "linear"}, options={"depth": 1},
        )  # fmt: skip
        self.made_zoo = self.folder / "work" / "seeds"
        with self.workers():
            train(recipe, self.made_zoo, workers=1)
        told = self.attempt([*self.generating(), "--catalog", str(self.made_zoo)])
        self.tell(prepared="generate", told=told)
        population = catalog.open(self.made_zoo).load("true LIMIT 40")
        settings = {"deepweightflow": ['schedule={"iterations": 3}', "components=4"]}
        for name in ("pca_gaussian", "deepweightflow"):
            made = generator_named(name, settings.get(name, ())).fit(population)
            made.save(self.made / f"{name}.safetensors")
        catalog.Canonicaliser("reference").fit(population).save(
            self.made / "canonicaliser.safetensors"
        )
        for path in (self.made_zoo / "generators").iterdir():
            kind = {".json": "report.json", ".safetensors": "interpolation.safetensors"}
            if path.suffix in kind:
                shutil.copy(path, self.made / kind[path.suffix])
                self.own = {**getattr(self, "own", {}), kind[path.suffix]: path}

        def no_exam(*arguments: Any, **options: Any) -> None:
            raise CatalogError("Nothing is judged in these trials, which takes seconds.")

        generators.generating.generate.Exam.of = no_exam  # type: ignore[assignment,method-assign]
        self.places[2:] = [self.made]

    @staticmethod
    def generating() -> list[str]:
        """The command whose report and generator are there."""
        return ["generate", "interpolation", "-n", "8", "--nulls", "8"]

    def generators(self, texts: Texts, files: Files) -> list[Command]:
        """Reports of the judge, and files of fitted generators."""
        from generators.registry import open_generator

        random = texts.random
        for name, path in self.own.items():
            shutil.copy(self.made / name, path)
        command = [*self.generating(), "--catalog", str(self.made_zoo)]
        pick = random.random()
        if pick < 0.5:
            value = json.loads((self.made / "report.json").read_text())
            files.json(self.own["report.json"], files.with_text(value))
            return [[*command, *(["--plot", "x.svg"] * (random.random() < 0.5))]]
        if pick < 0.58:
            path = self.source / "c.safetensors"
            files.refit(self.made / "canonicaliser.safetensors", path, "canonicaliser")
            return [lambda: catalog.Canonicaliser.load(path)]
        name = random.choice(
            ["interpolation", "interpolation", "pca_gaussian", "deepweightflow"]
        )
        path = self.source / "g.safetensors"
        files.refit(self.made / f"{name}.safetensors", path, "generator")
        if pick < 0.75:
            shutil.copy(path, self.own["interpolation.safetensors"])
            return [[*command, "--to", str(path)] if random.random() < 0.5 else command]
        return [lambda: open_generator(path).sample(2, seed=0)]

    def data(self, texts: Texts, files: Files) -> list[Command]:
        """Data of tasks as files."""
        from zoo.task import load_task
        from zoo.tasks import TASKS

        random, folder = texts.random, self.source
        kind = random.choice(["npz", "parquet", "text"])
        task = {"npz": "mnist", "parquet": "cifar10_jpeg"}.get(kind, "text_small")
        if kind == "npz":
            arrays = {
                files.clean(n): np.zeros((6, 28, 28) if n[0] == "x" else 6, np.uint8)
                for n in ("x_train", "y_train", "x_test", "y_test")
            }
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            files.write(folder / f"{task}.npz", buffer.getvalue())
        elif kind == "parquet":
            import pyarrow.parquet as pq

            table = {files.clean("split"): [files.clean("train"), "test"],
                     files.clean("label"): [0, 1], files.clean("jpeg"): [b"x", b"\xff\xd8"]}  # fmt: skip
            buffer = io.BytesIO()
            pq.write_table(pa.table(table), buffer)
            files.write(folder / f"{task}.parquet", buffer.getvalue())
        else:
            files.write(
                folder / f"{task}.txt", texts.any().encode("utf-8", "surrogatepass")
            )
        return [lambda: load_task(TASKS[task], folder)]


def main() -> None:
    folder, seed, *plan = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.fsync = lambda descriptor: None
    Trials.hurry()
    trials = Trials(Path(folder), int(seed))
    for i in range(0, len(plan), 3):
        trials.run(plan[i], int(plan[i + 1]), int(plan[i + 2]))
    trials.tell(end=True)
    os._exit(0)


if __name__ == "__main__":
    main()
