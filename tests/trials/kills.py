"""Kills of every verb that writes: nothing lost, and running it again completes.

A trial copies a small catalogue, runs one command on it and kills it: at a random moment
of the time that it usually takes, or before a random one of its changes of the disk; the
command itself, its workers, or all at once. Then everything is read: each row, weight and
file is as before the command or as after it. The command is run again, maybe killed again,
and at last ends by itself: now everything is as after a run that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
from content import Content
from ending import each_step, end_at, forked, told
from fault import Fault
from ground import GROUNDS
from verbs import VERBS, Verb
from workers import ForkedWorker

import catalog
import generators
import probes
import probes.learning.descent
import zoo
import zoo.training.worker
import zoo.workers.pool
from catalog.storage.temporaries import TEMPORARY
from catalog.upkeep.verify import verify

LAZY = (
    "jinja2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
    "matplotlib.figure", "pandas", "sklearn.datasets", "sklearn.linear_model",
    "torch.fx.experimental.symbolic_shapes",
)  # fmt: skip
"""Modules of others that are imported when they are needed: once for all trials."""

PATIENCE = 180.0
"""Seconds after which a command hangs."""

_SUBREAPER = 36


@dataclass
class Usual:
    """How a verb runs when nobody disturbs it.

    Attributes
    ----------
    seconds : float
    steps : int
        Changes of the disk by the command's own process.
    workers_steps : int
        Most changes by one of its workers.
    """

    seconds: float
    steps: int
    workers_steps: int


@dataclass(frozen=True)
class End:
    """How a run is ended.

    Attributes
    ----------
    whom : str
        ``"command"``, ``"workers"`` or ``"all"``.
    after : float
        Seconds, if ``step`` is 0.
    step : int
        Before which change of the disk.
    """

    whom: str
    after: float
    step: int


class Kills:
    """The trials; what they begin with and must end with lies in a folder."""

    at_once = 1

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._home = folder / "trial"
        self._usual: dict[str, Usual] = {}
        _prepare()
        for verb in VERBS:
            self._usual[verb.name] = self._undisturbed(verb)

    def trial(self, number: int, size: int) -> dict[str, int]:
        """Kill one verb, once or several times in a row; counts of what was done.

        Raises
        ------
        Fault
            If anything is not as it must be.
        """
        draw = random.Random(f"{self._seed} {number}")
        turn = random.Random(f"{self._seed} {number // len(VERBS)}")
        verb = turn.sample(VERBS, len(VERBS))[number % len(VERBS)]
        self._copy(verb)
        before = self._folder / "ground" / verb.ground / "content"
        after = self._folder / "after" / verb.name.replace(" ", "-")
        kills, ways = 0, list[str]()
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            end = self._drawn(verb, draw)
            ways.append(f"{end.whom} at {end.step or f'{end.after:.3f} s'}")
            where = f"{verb.name}: {', '.join(ways)}"
            killed = self._ended(verb, end, where)
            kills += killed
            if not killed:
                break
            self._look(verb, before, after, draw.random() < 0.5, where)
        where = f"{verb.name}: {', '.join(ways)}, run again"
        self._complete(verb, where)
        self._same(verb, after, where)
        return {"kills": kills, f"kills of {verb.name}": kills}

    def keep(self, number: int) -> None:
        """Keep what a trial left, to look at."""
        shutil.copytree(self._home, self._folder / f"fault-{number}", dirs_exist_ok=True)

    def _copy(self, verb: Verb) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(self._folder / "ground" / verb.ground / "files", self._home)

    def _undisturbed(self, verb: Verb) -> Usual:
        """Run a verb twice, unless that was done: the second run must be as the first."""
        kept = self._folder / "after" / verb.name.replace(" ", "-")
        told_before = kept.with_suffix(".usual")
        if not told_before.exists():
            kept.parent.mkdir(exist_ok=True)
            self._made(verb.ground)
            runs = []
            for path in (kept, kept.with_name("again")):
                self._copy(verb)
                runs.append(self._counted(verb))
                self._checked(f"{verb.name}, undisturbed")
                self._read(lambda path=path: Content.of(self._home).save(path))
            self._compare(kept.with_name("again"), kept, verb)
            usual = min(runs, key=lambda run: run.seconds)
            told_before.write_text(json.dumps(vars(usual)))
        return Usual(**json.loads(told_before.read_text()))

    def _made(self, ground: str) -> None:
        """Make what trials of a verb begin with, unless it is there."""
        place = self._folder / "ground" / ground
        if (place / "content.json").exists():
            return
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        self._home.mkdir()
        self._read(lambda: GROUNDS[ground](self._home))
        place.mkdir(parents=True)
        shutil.copytree(self._home, place / "files")
        self._read(lambda: Content.of(self._home).save(place / "content"))

    def _counted(self, verb: Verb) -> Usual:
        """Run a verb and count its changes of the disk."""
        counter = self._folder / "steps"
        counter.write_text("")
        steps = os.open(counter, os.O_WRONLY | os.O_APPEND)

        def count(number: int, what: str) -> None:
            os.write(steps, f"{os.getpid()} {number}\n".encode())

        def run() -> None:
            each_step(self._home, count)
            each_step(self._home, count, in_workers=True)
            verb.run(self._home)

        started = time.monotonic()
        child = self._started(run)
        status = self._waited(child, f"{verb.name}, undisturbed")
        seconds = time.monotonic() - started
        if status:
            raise Fault(f"{verb.name}, undisturbed, ended with {status}. {self._log()}")
        os.close(steps)
        lines = [line.split() for line in counter.read_text().splitlines()]
        counts = {int(pid): int(number) for pid, number in lines}
        own = counts.pop(child, 0)
        return Usual(seconds, own, max(counts.values(), default=0))

    def _drawn(self, verb: Verb, draw: random.Random) -> End:
        usual = self._usual[verb.name]
        crewed = usual.workers_steps > 0
        whom = draw.choice(("command", "workers", "all")) if crewed else "command"
        most = usual.workers_steps if whom == "workers" else usual.steps
        if draw.random() < 0.5 or not most:
            return End(whom, draw.uniform(0, usual.seconds), 0)
        if whom == "all":
            whom = "command"
        return End(whom, 0.0, draw.randrange(1, most + 1))

    def _ended(self, verb: Verb, end: End, where: str) -> bool:
        """Run a verb and end it; False if it was done before that."""

        def run() -> None:
            if end.step:
                end_at(self._home, end.step, in_workers=end.whom == "workers")
            verb.run(self._home)

        child = self._started(run)
        killed = bool(end.step)
        if not end.step:
            killed = not self._waits(child, end.after)
            if killed:
                workers = self._workers() if end.whom != "command" else []
                pids = workers if end.whom == "workers" else [child, *workers]
                killed = bool(pids)
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        status = self._waited(child, where)
        lame = killed and end.whom == "workers" and status == 1  # its workers are gone
        done = bool(verb.done) and verb.done in self._log()  # by the run before
        if status and status != -signal.SIGKILL and not (lame or done):
            raise Fault(f"{where}: ended with {status}. {self._log()}")
        return lame or status == -signal.SIGKILL

    def _look(
        self, verb: Verb, before: Path, after: Path, checked: bool, where: str
    ) -> None:
        """Read what a kill left: every row, weight and file is old or new."""

        def strange() -> str:
            found = Content.of(self._home)
            old, new = Content.load(before), Content.load(after)
            if verb.whole:
                sides = [found.differences(c, verb.near, outside=False) for c in (old, new)]
                wrong = min(sides, key=len)
            else:
                wrong = found.strangers(old, new, verb.near)
            return "\n".join([*wrong, *found.halves(old, new)])

        self._agreed(strange, where)
        self._reap(where)
        if checked:
            self._checked(where)
        self._agreed(strange, f"{where}, looked at again")

    def _complete(self, verb: Verb, where: str) -> None:
        child = self._started(lambda: verb.run(self._home))
        status = self._waited(child, where)
        log = self._log()
        if status and not (verb.done and verb.done in log):
            raise Fault(f"{where}: ended with {status}. {log}")

    def _same(self, verb: Verb, after: Path, where: str) -> None:
        self._checked(where)
        self._agreed(
            lambda: "\n".join(
                Content.of(self._home).differences(Content.load(after), verb.near)
            ),
            where,
        )
        rest = [p for p in self._home.rglob(".*") if TEMPORARY.fullmatch(p.name)]
        rest += [p for p in self._home.rglob("*.tmp*") if p not in rest]
        rest += [p for p in self._home.rglob("*.before")]
        if rest:
            raise Fault(f"{where}: is left: {', '.join(map(str, rest))}")

    def _compare(self, found: Path, expected: Path, verb: Verb) -> None:
        one, other = Content.load(found), Content.load(expected)
        if wrong := one.differences(other, verb.near):
            raise Fault(f"{verb.name}, undisturbed, twice: {_first(wrong)}")

    def _checked(self, where: str) -> None:
        """Verify the catalogue, which sweeps what killed processes left."""

        def problems() -> str:
            if not (self._home / "zoo" / "manifests").is_dir():
                return ""
            return "\n".join(map(str, verify(self._home / "zoo").problems))

        self._agreed(problems, f"{where}, verify")

    def _agreed(self, function: Any, where: str) -> None:
        """Raise what a child process says is wrong."""
        status, text = told(partial(self._logged, function))
        if status or text:
            wrong = text.splitlines() or [f"reading failed. {self._log()}"]
            raise Fault(f"{where}: {_first(wrong)}")

    def _read(self, function: Any) -> None:
        def quiet() -> str:
            function()
            return ""

        self._agreed(quiet, "making ground")

    def _started(self, function: Any) -> int:
        """A child in a session of its own, whose workers are announced."""
        announced = self._folder / "workers"
        announced.write_text("")

        def run() -> None:
            os.setsid()
            ForkedWorker.announced = os.open(announced, os.O_WRONLY | os.O_APPEND)
            self._logged(function)

        return forked(run)

    def _logged(self, function: Any) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        log = os.open(self._folder / "log", flags)
        os.dup2(log, 1)
        os.dup2(log, 2)
        return function()

    def _log(self) -> str:
        """The end of what the last process printed."""
        text = (self._folder / "log").read_text(errors="replace")
        return text[-1500:].strip()

    def _workers(self) -> list[int]:
        return [int(line) for line in (self._folder / "workers").read_text().split()]

    def _waits(self, child: int, seconds: float) -> bool:
        """Whether a child ends within so many seconds; it stays to be waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return True
            time.sleep(0.001)
        return False

    def _waited(self, child: int, where: str) -> int:
        """Code of a child that ends."""
        if not self._waits(child, PATIENCE):
            os.kill(child, signal.SIGABRT)  # its threads tell where they are
            self._waits(child, 5.0)
            for pid in (child, *self._workers()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(child, 0)
            raise Fault(f"{where}: hangs. {self._log()}")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status >= 0 and "Traceback" in self._log():
            raise Fault(f"{where}: {self._log()}")
        return status

    def _reap(self, where: str) -> None:
        """Wait for the workers that a killed command left, which end by themselves."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    time.sleep(0.001)
            except ChildProcessError:
                return
        raise Fault(f"{where}: workers stay behind. {self._log()}")


def _prepare() -> None:
    """Import everything and start no thread, so that children may be forked."""
    for package in (catalog, generators, probes, zoo):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with contextlib.suppress(ModuleNotFoundError):  # of an extra that is not here
                importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # workers without parent are ours
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    matplotlib.rcParams["svg.hashsalt"] = "soak"  # else each picture has names of its own
    os.cpu_count = lambda: 1
    os.fsync = lambda descriptor: None  # a kill does not lose what was written
    zoo.training.worker.FLUSH_SECONDS = 0.0  # a commit after each stack
    probes.learning.descent.PAUSE = 0.0  # a state after each epoch
    zoo.workers.pool.subprocess = SimpleNamespace(PIPE=subprocess.PIPE, Popen=ForkedWorker)
    faulthandler.enable()
    names = {
        Path(f"/proc/self/task/{task}/comm").read_text().strip()
        for task in os.listdir("/proc/self/task")[1:]
    }
    if names - {"jemalloc_bg_thd"}:  # of pyarrow, which knows forks
        raise Fault(f"importing started threads: {sorted(names)}")


def _first(wrong: list[str]) -> str:
    more = f" ... and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return "; ".join(wrong[:5]) + more
