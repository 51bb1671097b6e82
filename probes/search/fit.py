"""Text probes fitted to a catalogue when they are asked for, and kept as files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from catalog import CatalogError, LayoutMismatch, __version__
from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.names import content_id, slug
from catalog.quoting import literal
from catalog.storage.inside_folder import check_inside, folder_inside
from probes import file as probe_file
from probes.fitting.fit import FOLDER
from probes.fitting.inputs import weights
from probes.fitting.selection import TargetSelection, layouts
from probes.judging.intervals import mean_share
from probes.judging.kinship import joined
from probes.text.aligned import FEWEST
from probes.text.bilinear import TextBilinear
from probes.text.encoders import encoder_of


def text_probe(
    catalog: Catalog,
    target: str,
    *,
    where: str = "true",
    encoder: str = "minilm",
    again: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> tuple[TextBilinear, Path]:
    """Fit `TextBilinear` to a column of class names, or read it if it is there.

    The file lies in the folder ``probes`` of the catalogue. The same networks, names and
    version of this package have the same file.

    Parameters
    ----------
    target : str
        A column of `models` that holds text, or ``NAME=SQL``.
    where : str
        A condition on `models`; of each run the last checkpoint is learnt from.
    encoder : str
        Name of an encoder.
    again : bool
        Fit also if the file is there.
    announce : callable
        Is told what will be done before it is.

    Returns
    -------
    TextBilinear, Path
        Fitted, and where it is kept. Of ``probe_file.about(path)`` "train" are the
        runs that it learnt from, and "rows" the networks [run_id, step] of its `left_out_`.

    Raises
    ------
    CatalogError
        If the column is not there or holds no text, there are fewer than 4 classes, or
        networks have several layouts: before weights are read.
    ModuleNotFoundError
        If the encoder is not installed.
    """
    question = TargetSelection.of(catalog, [target], where=where)
    y = question.values.y
    if y.ndim > 1 or y.dtype.kind not in "US":
        raise CatalogError(
            f"{question.name} holds no names of classes. Text search learns from a column "
            "of text, one class a network, such as --target class_name; 'phasezoo schema' "
            "lists columns."
        )
    classes = np.unique(y)
    if len(classes) < FEWEST:
        raise CatalogError(
            f"{len(y)} networks have {len(classes)} classes of {question.name}: "
            f"{', '.join(classes)}. Text search needs {FEWEST} or more; widen --where."
        )
    found = layouts(question.table)
    if len({catalog.layout(arch).id for arch in found}) > 1:
        largest = max(found, key=lambda arch: len(found[arch]))
        raise LayoutMismatch(
            f"The networks with a {question.name} have {len(found)} layouts, and a text "
            "probe reads one. Narrow it: --where "
            f"{word(f'arch_id = {literal(largest)}')} "
            f"({len(found[largest])} networks)."
        )
    path = catalog.root / FOLDER / _file(question, encoder)
    check_inside(catalog.root, path)
    if path.exists() and not again:
        probe = probe_file.load(path)
        assert isinstance(probe, TextBilinear)
        return probe, path
    encoder_of(encoder)  # whether it is installed, before weights are read
    for reason, count in question.left_out.items():
        announce(f"Not learnt from: {count:,} with {reason}.")
    announce(f"Learning {len(classes)} classes of {len(y):,} networks.")
    material = weights(catalog, question.table)
    # What is said of a network without it is said without its copies too.
    copies = joined(question.table["content"].to_pylist())
    probe = TextBilinear(encoder, layout=material.layout).fit(material.X, y, copies)
    runs, steps = (question.table[name].to_pylist() for name in ("run_id", "step"))
    about = {
        "target": question.name,
        "where": where,
        "train": sorted(set(runs)),
        "rows": [list(key) for key in zip(runs, steps, strict=True)],
    }
    folder_inside(catalog.root, FOLDER)
    probe_file.save(probe, path, about)
    announce(f"Kept as {path}. {_score(probe)}")
    return probe, path


def _score(probe: TextBilinear) -> str:
    """How well it names classes that it has not seen, as a sentence."""
    what = "Of classes left out in turn, a network is nearer to its own name than to"
    count = len(probe.classes_)
    share, low, high = mean_share(probe.unseen_)
    if np.isnan(share):
        return (
            f"{what} {probe.path_.max():.0%} of the others (chance 50%): the best of "
            f"{probe.path_.size} penalties for these very classes, so too good. With 6 "
            f"classes or more (here {count}) it is measured apart."
        )
    return (
        f"{what} {share:.0%} of the others ({low:.0%} to {high:.0%}, 95% over {count} "
        "classes; chance 50%), with penalties chosen on other classes."
    )


def _file(question: TargetSelection, encoder: str) -> str:
    """Name of the file: equal questions have equal ones."""
    digest = hashlib.sha256()
    for name in ("run_id", "step"):
        digest.update("\n".join(map(str, question.table[name].to_pylist())).encode())
    digest.update("\n".join(question.values.y.tolist()).encode())
    key = content_id([TextBilinear.name, encoder, digest.hexdigest(), __version__], 8)
    return f"{slug(f'{TextBilinear.name} {question.name}')}-{key}.safetensors"
