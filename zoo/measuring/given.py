"""Task and architecture that the caller states for runs which do not record them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catalog.errors import BadSetting, CatalogError
from catalog.names import canonical_json
from catalog.plugins.settings import checked

if TYPE_CHECKING:
    from zoo.architecture import Architecture
    from zoo.run import Run

_EXAMPLE = '\'{"name": "mlp", "sizes": [64, 32, 10], "activation": "relu"}\''


def check_given(task: str | None, architecture: str | None) -> None:
    """Check the values of --task and --architecture; needs no catalogue.

    Raises
    ------
    NotFound
        If there is no task, or no architecture, of that name.
    BadSetting
        If the architecture is not a JSON object with the fields of its family.
    """
    if task is not None:
        from zoo.tasks import task_named

        task_named(task)
    if architecture is not None:
        given_architecture(architecture)


def given_architecture(text: str) -> Architecture:
    """Return the architecture that --architecture describes.

    Raises
    ------
    NotFound
        If there is no family of that name.
    BadSetting
        If the text is not a JSON object with the fields of the family.
    """
    from zoo.architectures import ARCHITECTURES
    from zoo.engine.stack import build_architecture

    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_described(text, f"it is not JSON ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("name"), str):
        raise _not_described(text, "it is not a JSON object with a name")
    name, values = config["name"], {k: v for k, v in config.items() if k != "name"}
    try:
        checked(ARCHITECTURES[name], values, f"the architecture {name!r}")
        built = build_architecture(config)
        built.layout  # noqa: B018  (computed on request; sizes that do not fit fail here)
    except BadSetting as error:
        why = str(error).partition(" Pass, for example, --set ")[0]
        raise _not_described(text, why) from error
    except CatalogError:
        raise
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _not_described(text, str(error)) from error
    return built


def _not_described(text: str, why: str) -> BadSetting:
    return BadSetting(
        f"--architecture {text[:200]!r} describes no architecture: {why.rstrip('.')}. "
        f"Expected, for example, {_EXAMPLE}"
    )


def check_recorded(
    rows: Sequence[Mapping[str, Any]],
    recorded: Sequence[Run | None],
    task: str | None,
    architecture: str | None,
) -> list[str]:
    """Compare the given task and architecture with what the selected runs record.

    The configuration of a run that phasezoo trained counts, whatever is given. A task or
    an architecture that an import stated is replaced by the given one.

    Parameters
    ----------
    rows : sequence of dict
        Rows of ``models``.
    recorded : sequence of (Run or None)
        Configuration of each row's run; None for runs that do not record it.
    task, architecture : str, optional
        Given name of the task, and given architecture as JSON.

    Returns
    -------
    list of str
        Lines that say what the given values replace.

    Raises
    ------
    CatalogError
        If the task contradicts the configuration of a run, or if all runs record a
        configuration and the architecture contradicts one of them.
    """
    imported = [row for row, run in zip(rows, recorded, strict=True) if run is None]
    runs = [(row, run) for row, run in zip(rows, recorded, strict=True) if run is not None]
    lines = []
    if task is not None:
        for row, run in runs:
            if run.task != task:
                raise _contradiction(row, "task", run.task, task)
        names = [row.get("task_name") for row in imported]
        lines += _replaced("task", [n for n in names if n and n != task], task)
    if architecture is not None:
        given = canonical_json(given_architecture(architecture).config())
        for row, run in runs:
            own = canonical_json(dict(run.architecture))
            if own != given and not imported:
                raise _contradiction(row, "architecture", own, given)
        texts = [row.get("architecture") for row in imported]
        others = [t for t in texts if t and not _is_same(t, given)]
        lines += _replaced("architecture", others, given)
    return lines


def _is_same(text: str, given: str) -> bool:
    """Return True if a stored architecture is the given one, in any notation."""
    try:
        return canonical_json(json.loads(text)) == given
    except (ValueError, RecursionError):
        return False


def _contradiction(
    row: Mapping[str, Any], what: str, recorded: str, given: str
) -> CatalogError:
    return CatalogError(
        f"Run {row['run_id']!r} of zoo {row['zoo']!r} was trained with the {what} "
        f"{recorded}, and --{what} states {given}. Leave out --{what}, which is for runs "
        f"that do not record their {what}, or leave out these runs with --where."
    )


def _replaced(what: str, stated: Sequence[str], given: str) -> list[str]:
    return [
        f"--{what} {given} replaces the {what} {name} that {count:,} of the selected "
        "checkpoints state."
        for name, count in sorted(Counter(stated).items())
    ]
