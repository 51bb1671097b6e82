"""Run and step of a checkpoint, read from the name of its file or folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from catalog.formats.format import Scalar

# More digits might not fit a 64-bit integer.
_END = re.compile(
    r"(?P<rest>|.*[^A-Za-z])(?P<word>(?i:epoch|step|iteration|iter|checkpoint|ckpt))"
    r"[-_=.]?(?P<count>[0-9]{1,18})",
    re.DOTALL,
)


def run_and_step_of(source: Path, name: str) -> dict[str, Scalar]:
    """Return columns ``run_name`` and ``step`` if the name of a network ends in a count.

    The last count is the step. If its word is epoch, the step counts epochs and
    ``step_unit`` records that. The name of the run is the name of the network without all
    counts at its end, and without the name of the file if only its folder has a count. If
    the rest is empty, the run is named after the folder. If the name has no count, the
    result is empty.

    Parameters
    ----------
    source : Path
        File or folder in which the network was found.
    name : str
        Path of the network within the source, without the suffix of the file.

    Examples
    --------
    >>> run_and_step_of(Path("zoo"), "resnet/seed3_step_500")
    {'run_name': 'resnet/seed3', 'step': 500}
    >>> run_and_step_of(Path("zoo"), "resnet/epoch_5/model")
    {'run_name': 'resnet', 'step': 5, 'epoch': 5.0, 'step_unit': 'epochs'}
    """
    match = _END.fullmatch(name) or _END.fullmatch(name.rpartition("/")[0])
    if match is None:
        return {}
    counts: dict[str, int] = {}
    last_match, rest = match, name
    while match:
        counts.setdefault(match["word"].lower(), int(match["count"]))
        rest = match["rest"].rstrip("-_=. /")
        match = _END.fullmatch(rest)  # such as epoch=5-step=1000
    folder = source.parent if source.is_file() else source
    place: dict[str, Scalar] = {"run_name": rest or folder.resolve().name or name}
    place["step"] = int(last_match["count"])
    if "epoch" in counts:
        place["epoch"] = float(counts["epoch"])
    if last_match["word"].lower() == "epoch":
        place["step_unit"] = "epochs"
    return place


def placed(row: Mapping[str, Scalar], place: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Add the columns read from a network's name to its row where the row has no value."""
    known = {key for key, value in row.items() if value is not None}
    if "step" in known:  # the unit in the name does not apply to this step
        known.add("step_unit")
    additions = {key: value for key, value in place.items() if key not in known}
    return {**row, **additions}
