"""Run and step of a checkpoint, where the name of its file or folder says them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from catalog.formats.format import Scalar

# A count of more digits is no step: it would be no 64-bit integer.
_END = re.compile(
    r"(?P<rest>|.*[^A-Za-z])(?P<word>(?i:epoch|step|iteration|iter|checkpoint|ckpt))"
    r"[-_=.]?(?P<count>[0-9]{1,18})",
    re.DOTALL,
)


def run_and_step_of(source: Path, name: str) -> dict[str, Scalar]:
    """Columns ``run_name`` and ``step`` of a network whose name counts; else none.

    The last count is the step: an epoch if that is its word, and ``step_unit`` says so.
    All counts at the end are left out of the run, and so is a file's own name if its
    folder counts. Without a rest the run is called like the folder.

    Parameters
    ----------
    source : Path
        File or folder in which the network was found.
    name : str
        Its path inside, without the suffix of its file.

    Examples
    --------
    >>> run_and_step_of(Path("zoo"), "resnet/seed3_step_500")
    {'run_name': 'resnet/seed3', 'step': 500}
    >>> run_and_step_of(Path("zoo"), "resnet/epoch_5/model")
    {'run_name': 'resnet', 'step': 5, 'epoch': 5.0, 'step_unit': 'epochs'}
    """
    found = _END.fullmatch(name) or _END.fullmatch(name.rpartition("/")[0])
    if found is None:
        return {}
    counts: dict[str, int] = {}
    last, rest = found, name
    while found:
        counts.setdefault(found["word"].lower(), int(found["count"]))
        rest = found["rest"].rstrip("-_=. /")
        found = _END.fullmatch(rest)  # as in epoch=5-step=1000
    folder = source.parent if source.is_file() else source
    place: dict[str, Scalar] = {"run_name": rest or folder.resolve().name or name}
    place["step"] = int(last["count"])
    if "epoch" in counts:
        place["epoch"] = float(counts["epoch"])
    if last["word"].lower() == "epoch":
        place["step_unit"] = "epochs"
    return place


def placed(row: Mapping[str, Scalar], place: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The columns of a network, and what its name says where they say nothing."""
    said = {key for key, value in row.items() if value is not None}
    if "step" in said:  # whose unit is not that of the name
        said.add("step_unit")
    kept = {key: value for key, value in place.items() if key not in said}
    return {**row, **kept}
