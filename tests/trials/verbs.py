"""Every verb that writes, as the trials of `kills` call it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ground import METRICS, phasezoo

_EXACT = (0.0, 0.0)
_TRAINED = (1e-3, 1e-4)


@dataclass(frozen=True)
class Verb:
    """A command that is ended, and run again until it is done.

    Attributes
    ----------
    name : str
    ground : str
        Of `ground.GROUNDS`.
    words : tuple of str
        The command line; ``{}`` is the trial's folder.
    whole : bool
        Whether readers see all that it does or nothing; else a part may be there.
    near : tuple of two floats
        How far numbers may be from those of an undisturbed run: relative and absolute.
        Networks in another stack are rounded otherwise.
    done : str
        How the command refuses if it was done before; it has nothing to complete then.
    """

    name: str
    ground: str
    words: tuple[str, ...]
    whole: bool = True
    near: tuple[float, float] = _EXACT
    done: str = ""

    def run(self, folder: Path) -> None:
        """The command in a trial's folder; ``out`` in it is for what users ask for."""
        (folder / "out").mkdir(exist_ok=True)
        phasezoo(folder / "zoo", *(word.replace("{}", str(folder)) for word in self.words))


def _part(name: str, ground_name: str, words: str, *more: str) -> Verb:
    """A verb of which a part may be there."""
    return Verb(name, ground_name, (*words.split(), *more), whole=False, near=_TRAINED)


def _whole(name: str, ground_name: str, words: str, *more: str) -> Verb:
    return Verb(name, ground_name, (*words.split(), *more))


VERBS = (
    _part("train", "empty", "train soak_grid --workers 2"),
    _part("train the rest", "some", "train soak_grid --workers 2"),
    _part("measure", "grid", "", *METRICS),
    _whole("phases", "measured", "phases soak_grid --plot {}/out/phases.svg"),
    _part(
        "downstream", "grid",
        "downstream soak_grid --only average_seeds,pruning --workers 1",
    ),
    _whole("probe", "seeds", "probe statistics --target test_accuracy"),
    _whole("probe to", "seeds",
           "probe linear --target test_accuracy --to {}/out/linear.safetensors"),
    _whole("probe on", "seeds", "probe mvprobe --target test_accuracy --set epochs=4 --set",
           'resume="{}/out/state.safetensors"'),
    _whole("probe apply", "probed", "probe apply {}/linear.safetensors"),
    _part(
        "generate", "seeds",
        "generate train_noise -n 4 --nulls 4 --images 40 --plot {}/out/generated.svg",
    ),
    _whole("import", "grid",
           "import {}/source --format npz_state_dict --zoo foreign"),
    _whole("annotate", "grid", "annotate {}/sharpness.csv --name sharpness"),
    Verb("rm", "used", ("rm", "zoo = 'soak_grid' AND seed = 2", "--yes"),
         done="nothing to remove"),
    _whole("compact", "used", "compact"),
    _whole("gc", "used", "gc --grace 0 --keep 1 --waste 0"),
    _whole("gc some", "used", "gc --grace 0 --keep 2"),
    _whole("report", "measured", "report --to {}/out/report.html"),
    _whole("export", "measured", "export --force --to {}/out/nets --where", "step = 30"),
    _whole("export npz", "measured",
           "export --force --to {}/out/some.npz --where", "step = 0 AND width = 4"),
    _whole("export arrow", "measured", "export --force --to {}/out/some.arrow --where",
           "step = 30 AND width = 4"),
    _whole("sql to", "measured", "sql --force --to {}/out/rows.parquet",
           "SELECT run_id, step, train_loss FROM models ORDER BY 1, 2"),
    _whole("sql", "without_index", "sql", "SELECT count(*) FROM models"),
    _whole("sql later", "with_old_index", "sql", "SELECT count(*) FROM models"),
    _whole("verify", "left", "verify"),
    _whole("verify repair", "broken", "verify --repair"),
)  # fmt: skip
