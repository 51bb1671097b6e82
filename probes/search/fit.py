"""Text probes that are fitted to a catalogue on request, and saved as files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from catalog import CatalogError, LayoutMismatch, __version__
from catalog.catalog import Catalog
from catalog.checkpoints import layouts
from catalog.console.counting import counted
from catalog.console.pasting import word
from catalog.names import content_id, slug
from catalog.quoting import literal
from probes import file as probe_file
from probes.fitting.inputs import weights
from probes.fitting.kept_file import kept_file, make_folder
from probes.fitting.selection import TargetSelection
from probes.judging.intervals import mean_share
from probes.judging.kinship import joined
from probes.search.request import SearchRequest
from probes.text.aligned import FEWEST
from probes.text.bilinear import TextBilinear
from probes.text.encoders import encoder_of


def text_probe(
    catalog: Catalog,
    request: SearchRequest,
    announce: Callable[[str], None] = lambda line: None,
) -> tuple[TextBilinear, Path]:
    """Fit `TextBilinear` to a column of class names, or load it if it is saved.

    The file is in the folder ``probes`` of the catalogue, or in the current folder if the
    catalogue is remote. Its name is determined by the
    networks, the names and the version of this package.

    Parameters
    ----------
    request : SearchRequest
        With a target: a column of `models` that holds text, or ``NAME=SQL``. The last
        checkpoint of each run is used.
    announce : callable
        Called with lines that describe the fit.

    Returns
    -------
    TextBilinear, Path
        Fitted probe, and its file. In ``probe_file.about(path)``, "train" lists the runs
        of the training set, and "rows" the networks [run_id, step] of `left_out_`.

    Raises
    ------
    CatalogError
        If the column is missing or holds no text, there are fewer than 4 classes, or
        networks have several layouts; checked before weights are read.
    ModuleNotFoundError
        If the encoder is not installed.
    """
    assert request.target is not None
    where, encoder = "true" if request.where is None else request.where, request.encoder
    question = TargetSelection.of(catalog, [request.target], where=where)
    y = question.values.y
    if y.ndim > 1 or y.dtype.kind not in "US":
        raise CatalogError(
            f"{question.name} does not hold class names. Text search needs a column of "
            "text with one class per network, such as --target class_name; 'phasezoo "
            "schema' lists the columns."
        )
    classes = np.unique(y)
    if len(classes) < FEWEST:
        raise CatalogError(
            f"{len(y)} networks have {len(classes)} classes of {question.name}: "
            f"{', '.join(classes)}. Text search needs {FEWEST} or more; widen --where."
        )
    rows_of = layouts(question.table)
    if len({catalog.layout(arch).id for arch in rows_of}) > 1:
        largest = max(rows_of, key=lambda arch: len(rows_of[arch]))
        raise LayoutMismatch(
            f"The networks with a {question.name} have {len(rows_of)} layouts, and a text "
            "probe reads one. Narrow the selection: --where "
            f"{word(f'arch_id = {literal(largest)}')} "
            f"({counted(len(rows_of[largest]), 'network')})."
        )
    path = kept_file(catalog, _file(question, encoder))
    if path.exists() and not request.again:
        probe = probe_file.load(path)
        assert isinstance(probe, TextBilinear)
        return probe, path
    encoder_of(encoder)  # fails before weights are read if the encoder is not installed
    for reason, count in question.left_out.items():
        announce(f"Left out: {count:,} with {reason}.")
    announce(f"Fitting {len(classes)} classes of {len(y):,} networks.")
    inputs = weights(catalog, question.table)
    # A prediction without a network must be made without its copies too.
    copies = joined(question.table["content"].to_pylist())
    probe = TextBilinear(encoder, layout=inputs.layout).fit(inputs.X, y, copies)
    runs, steps = (question.table[name].to_pylist() for name in ("run_id", "step"))
    about = {
        "target": question.name,
        "where": where,
        "train": sorted(set(runs)),
        "rows": [list(key) for key in zip(runs, steps, strict=True)],
    }
    make_folder(catalog)
    probe_file.save(probe, path, about)
    announce(f"Saved as {path}. {_score(probe)}")
    return probe, path


def _score(probe: TextBilinear) -> str:
    """Return a sentence on the score for classes that were left out."""
    finding = "With classes left out in turn, a network is nearer to its own name than to"
    count = len(probe.classes_)
    share, low, high = mean_share(probe.unseen_)
    if np.isnan(share):
        return (
            f"{finding} {probe.path_.max():.0%} of the others (chance 50%). This is "
            f"optimistic, as the best of {probe.path_.size} penalties was chosen on the "
            f"same classes; with 6 classes or more (here {count}) other classes are used."
        )
    return (
        f"{finding} {share:.0%} of the others ({low:.0%} to {high:.0%}, 95% over {count} "
        "classes; chance 50%), with penalties chosen on other classes."
    )


def _file(question: TargetSelection, encoder: str) -> str:
    """Return the name of the file; equal selections have equal names."""
    digest = hashlib.sha256()
    for name in ("run_id", "step"):
        digest.update("\n".join(map(str, question.table[name].to_pylist())).encode())
    digest.update("\n".join(question.values.y.tolist()).encode())
    key = content_id([TextBilinear.name, encoder, digest.hexdigest(), __version__], 8)
    return f"{slug(f'{TextBilinear.name} {question.name}')}-{key}.safetensors"
