"""Request to generate samples, checked completely before any weights are read."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import CatalogError, LayoutMismatch, NotFound, __version__
from catalog.catalog import Catalog, arrow_table
from catalog.checkpoints import layouts, rows
from catalog.console.pasting import word
from catalog.errors import closest
from catalog.names import content_id, slug
from catalog.plugins.settings import parse
from catalog.quoting import literal
from catalog.storage.splits import SPLITS
from generators.calibration import CALIBRATIONS
from generators.file import settings as constructed_with
from generators.generating.conditions import (
    check_conditions,
    columns_read,
    conditions_of,
    of_test_data,
    typed_conditions,
)
from generators.generating.options import GenerateOptions, takes
from generators.generating.sampling import seed_of
from generators.generator import Condition, Generator
from generators.judging.comparable import FEWEST
from generators.registry import generator_class, generator_named

_MADE = "that were generated themselves"


@dataclass(frozen=True)
class Request:
    """A generator, its training networks and the requested samples.

    Attributes
    ----------
    generator : Generator
        Unfitted generator.
    options : GenerateOptions
        Options that were given.
    keys : dict of str to pyarrow.Table
        ``run_id`` and ``step`` of the networks of each split, in a fixed order.
    left_out : dict of str to int
        Number of selected networks that are in no split, by the reason.
    conditions : tuple of mapping
        Conditions that each get an equal share of the samples; one empty condition if none
        is requested.
    warnings : tuple of str
        Reasons that make the judgement less reliable.
    made : tuple of str
        run_id of each selected checkpoint that was generated.
    """

    generator: Generator
    options: GenerateOptions
    keys: Mapping[str, pa.Table] = field(repr=False)
    left_out: Mapping[str, int]
    conditions: tuple[Condition, ...]
    warnings: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalog: Catalog, name: str, options: GenerateOptions) -> Request:
        """Check a request for samples of the generator ``name``, and return it.

        Raises
        ------
        CatalogError
            If the request is invalid.
        """
        for calibration in options.calibrations:
            _ = CALIBRATIONS[calibration]
        kind, texts = generator_class(name), conditions_of(options.conditions)
        if len(texts) > options.n:
            raise CatalogError(
                f"{len(texts)} conditions need at least as many samples. Got -n "
                f"{options.n}. Give -n {len(texts)} or more."
            )
        options.check_taken(kind, texts[0])
        values = parse(options.settings)
        if texts[0] and "conditions" in inspect.signature(kind).parameters:
            if preset := values.get("preset"):
                raise CatalogError(
                    f"The preset {str(preset)!r} of the generator {name!r} takes no "
                    "condition. Leave out --condition, or the preset."
                )
            values.setdefault("conditions", list(texts[0]))
        generator = generator_named(name, values)
        model_columns = [row[0] for row in catalog.sql("DESCRIBE models").fetchall()]
        for column in columns_read(generator, texts):
            if column not in model_columns:
                raise NotFound(
                    f"There is no column {column!r} in models. "
                    f"{closest(column, model_columns)}"
                )
        keys, left_out, made = _split_keys(catalog, options.where, options.steps)
        _check_count(generator, keys["train"])
        tables = {
            side: catalog.select(keys[side]).table for side in ("train", "validation")
        }
        typed = typed_conditions(texts, tables["train"])
        check_conditions(
            generator,
            typed,
            tables,
            extrapolate=options.extrapolate,
            can_extrapolate=takes(kind, "extrapolate"),
        )
        warnings = tuple(of_test_data(generator, typed, model_columns))
        return cls(generator, options, keys, left_out, typed, warnings, made)

    def left_out_besides(self, samples: Collection[str]) -> dict[str, int]:
        """Count the selected networks that are in no split, except these samples.

        The samples are in the catalogue already if they are judged again, or if a judgement
        was interrupted.
        """
        own_count = len([run for run in self.made if run in samples])
        counts = {
            reason: n - own_count * (reason == _MADE) for reason, n in self.left_out.items()
        }
        return {reason: n for reason, n in counts.items() if n}

    @property
    def counts(self) -> list[int]:
        """Number of samples of each condition."""
        parts = np.array_split(np.arange(self.options.n), len(self.conditions))
        return [len(part) for part in parts]

    @cached_property
    def fit_provenance(self) -> dict[str, Any]:
        """Provenance of the fitted generator as JSON values."""
        return {
            "generator": self.generator.name,
            "settings": _json_settings(constructed_with(self.generator)),
            "networks": {side: _keys_digest(table) for side, table in self.keys.items()},
            "code": __version__,
        }

    @property
    def fit_id(self) -> str:
        """Identifier of the fit, a hash of its provenance."""
        return content_id(self.fit_provenance, 16)

    @property
    def seeds(self) -> list[int]:
        """Seed of the samples of each condition."""
        return [seed_of(self.options.seed, condition) for condition in self.conditions]

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the samples and the judgement as JSON values."""
        options = self.options
        return {
            **self.fit_provenance,
            "n": options.n,
            "conditions": [dict(condition) for condition in self.conditions],
            "calibrations": list(options.calibrations),
            "seed": options.seed,
            "nulls": options.null_count,
            **({"images": options.images} if options.images is not None else {}),
            **({"seeds": self.seeds} if self.conditions[0] else {}),
            **({"sampling": options.sampling} if options.sampling else {}),
        }

    @property
    def file(self) -> str:
        """Name of the file of the fitted generator, without its extension."""
        return f"{slug(self.generator.name)}-{content_id(self.fit_provenance, 8)}"

    @property
    def report(self) -> str:
        """Name of the files about these samples, without their extension."""
        return f"{self.file}-{content_id(self.provenance, 8)}"

    @property
    def notes(self) -> list[str]:
        """Lines on what will be done and on networks that are left out."""
        sizes = ", ".join(f"{len(self.keys[side]):,} {side}" for side in SPLITS)
        lines = [f"{self.generator.name}: {self.options.n:,} samples; networks: {sizes}"]
        lines += [
            f"Left out: {count:,} {reason}." for reason, count in self.left_out.items()
        ]
        if self.options.images is not None:
            lines.append(
                f"Networks are judged on at most {self.options.images:,} test images, the "
                "same for all networks."
            )
        return lines


def _split_keys(
    catalog: Catalog, where: str, steps: str
) -> tuple[dict[str, pa.Table], dict[str, int], tuple[str, ...]]:
    table, left_out = rows(catalog, where, steps)
    left_out = {f"with {reason}": count for reason, count in left_out.items()}
    sources = catalog.sql("SELECT DISTINCT run_id FROM runs WHERE source = 'generated'")
    is_generated = pc.is_in(
        table["run_id"], value_set=arrow_table(sources)["run_id"].combine_chunks()
    )
    runs = tuple(table["run_id"].filter(is_generated).to_pylist())
    if runs:
        left_out[_MADE] = len(runs)
        table = table.filter(pc.invert(is_generated))
    by_architecture = layouts(table)
    layout_ids = {catalog.layout(arch).id for arch in by_architecture}
    if len(layout_ids) > 1:
        listed = "; ".join(
            f"{len(members):,} x {arch}"
            for arch, members in sorted(
                by_architecture.items(), key=lambda item: -len(item[1])
            )[:8]
        )
        largest = max(by_architecture, key=lambda arch: len(by_architecture[arch]))
        raise LayoutMismatch(
            f"The selection has {len(layout_ids)} layouts, and a generator makes networks "
            f"of one: {listed}. Narrow the selection, e.g. --where "
            f"{word(f'arch_id = {literal(largest)}')}"
        )
    split = table["split_by_run"]
    keys = {
        side: table.filter(pc.equal(split, side)).select(["run_id", "step"])
        for side in SPLITS
    }
    in_split = sum(map(len, keys.values()))
    if in_split < len(table):
        left_out["of no split, as their parents are in several"] = len(table) - in_split
    tested = pc.count_distinct(keys["test"]["run_id"]).as_py()
    if tested < FEWEST:
        raise CatalogError(
            f"The selection has {tested} held-out runs (split_by_run = 'test') and "
            f"{len(keys['train']):,} training networks; {FEWEST} held-out runs are needed "
            "to judge samples. Widen --where to more runs, all splits included."
        )
    return keys, left_out, runs


def _check_count(generator: Generator, train: pa.Table) -> None:
    runs = pc.count_distinct(train["run_id"]).as_py()
    if runs < generator.fewest:
        raise CatalogError(
            f"The selection has {runs} training runs (split_by_run = 'train'); "
            f"{generator.name!r} needs at least {generator.fewest}. Widen --where to more "
            "runs."
        )


def _keys_digest(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for run, step in zip(*(table[n].to_pylist() for n in ("run_id", "step")), strict=True):
        digest.update(f"{run}@{step} ".encode())
    return digest.hexdigest()[:16]


def _json_settings(value: Any) -> Any:
    """Return settings as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _json_settings(
            {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        )
    if isinstance(value, Mapping):
        return {str(key): _json_settings(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_settings(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # such as the error of a given solver, not yet known
    return value
