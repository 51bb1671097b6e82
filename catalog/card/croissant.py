"""Croissant description (JSON-LD 1.0) of a published catalogue.

Every file of weights is a `FileObject` with its sha256; the files of one architecture are a
`FileSet` and a `RecordSet` with one field per tensor, and the view `models` is a
`RecordSet`. On the Hub addresses are absolute and file sets belong to the Git repository;
elsewhere both are relative to the folder of the description.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa

from catalog.card.destination import Destination
from catalog.card.facts import Facts
from catalog.card.front_matter import TAGS
from catalog.rows import Rows
from catalog.storage.manifest import File
from catalog.version import __version__

MARK = "Written by phasezoo"
"""Beginning of the credit of our descriptions; others are kept."""

MOST_FILES = 2000
"""Maximum number of files of weights that are listed with their digests."""

MOST_FIELDS = 1000
"""Maximum number of fields of a record set."""

_HUB = "https://huggingface.co/datasets"
_NO_DIGEST = "https://github.com/mlcommons/croissant/issues/80"
"""Placeholder that the format prescribes for the digest of a Git repository."""

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_KINDS = {
    "float16": "cr:Float16",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "uint32": "cr:UInt32",
    "uint64": "cr:UInt64",
}
"""Type of the elements by dtype; other dtypes are stored as bytes, which have no type."""

Json = dict[str, Any]


class ModelsFile(NamedTuple):
    """File of the view `models`, and its Arrow schema."""

    file: File
    schema: pa.Schema


def croissant(
    facts: Facts,
    destination: Destination,
    *,
    licences: Sequence[str],
    models: ModelsFile | None,
    weights: Mapping[str, Sequence[File]],
) -> bytes:
    """Return the description as UTF-8 text with only ASCII characters.

    Parameters
    ----------
    licences : sequence of str
        All licences of the zoos.
    models : ModelsFile, optional
        Default configuration, if it is written.
    weights : mapping of str to sequence of File
        Files of weights by architecture.
    """
    hub = destination.repository
    distribution: list[Json] = []
    record_sets: list[Json] = []
    if hub:
        repository = _object("repo", f"{_HUB}/{hub}", "git+https", _NO_DIGEST)
        distribution.append(repository | {"description": "Git repository of the Hub."})
    if models:
        distribution.append(_file(models.file, hub))
        record_sets.append(_models(models, facts))
    tensors = {k: [*rows] for k, rows in groupby(facts.tensors, lambda row: row["arch_id"])}
    left = MOST_FILES
    for arch_id, files in sorted(weights.items()):
        distribution += [_file(file, hub) for file in files[:left]]
        left -= min(left, len(files))
        if arch_id in tensors:
            distribution.append(_file_set(arch_id, files, hub))
            record_sets.append(_weights(arch_id, tensors[arch_id]))
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": destination.name,
        "description": f"{facts.runs:,} training runs of {len(facts.zoos):,} zoos of "
        f"neural networks with {facts.checkpoints:,} checkpoints: metadata and weights.",
        "creditText": f"{MARK} {__version__}",
        "version": f"{destination.version}.0.0",
        "identifier": destination.content,
        "license": list(licences) or "not stated",
        "citeAs": destination.bibtex,
        "keywords": list(TAGS),
        "url": f"{_HUB}/{hub}" if hub else destination.address,
        "distribution": distribution,
        "recordSet": record_sets,
    }
    if destination.date:
        document["datePublished"] = destination.date
    if hub:
        owner = hub.partition("/")[0]
        document["creator"] = {
            "@type": "sc:Organization",
            "name": owner,
            "url": f"https://huggingface.co/{owner}",
        }
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()


def is_our_description(text: str) -> bool:
    """Report if a croissant.json was written here and may be replaced."""
    return f'"creditText":"{MARK}' in text


def _object(name: str, url: str, kind: str, digest: str) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": url,
        "encodingFormat": kind,
        "sha256": digest,
    }


def _file(file: File, hub: str) -> Json:
    url = f"{_HUB}/{hub}/resolve/main/{file.path}" if hub else file.path
    described = _object(file.path, url, "application/x-parquet", file.sha256)
    return described | {"contentSize": f"{file.bytes} B"}


def _file_set(arch_id: str, files: Sequence[File], hub: str) -> Json:
    paths = [file.path for file in files]
    if len(paths) > MOST_FILES:
        paths = [f"weights/{arch_id}/*.parquet"]
    contained = {"containedIn": {"@id": "repo"}} if hub else {}
    return {
        "@type": "cr:FileSet",
        "@id": f"files-{arch_id}",
        "name": f"files-{arch_id}",
        "description": f"Weights of the architecture {arch_id}.",
        **contained,
        "encodingFormat": "application/x-parquet",
        "includes": paths,
    }


def _models(models: ModelsFile, facts: Facts) -> Json:
    meanings = {row["column"]: row for row in facts.columns}
    source = {"fileObject": {"@id": models.file.path}}
    fields = []
    for column in models.schema:
        known = meanings.get(column.name)
        meaning = f"{known['meaning']} ({known['unit']})" if known else "without any value"
        kind = _arrow_kind(column.type)
        if kind:
            fields.append(_field("models", column.name, kind, meaning, source))
    return {
        "@type": "cr:RecordSet",
        "@id": "models",
        "name": "models",
        "description": "One row per checkpoint: its run, its metrics and its measures.",
        "key": [{"@id": "models/run_id"}, {"@id": "models/step"}],
        "field": fields[:MOST_FIELDS],
    }


def _arrow_kind(type_: pa.DataType) -> str:
    """Return the type of a column, empty for lists of structures such as `parents`."""
    if pa.types.is_floating(type_):
        return "sc:Float"
    if pa.types.is_integer(type_):
        return "sc:Integer"
    if pa.types.is_boolean(type_):
        return "sc:Boolean"
    return "" if pa.types.is_nested(type_) else "sc:Text"


def _weights(arch_id: str, tensors: Rows) -> Json:
    source = {"fileSet": {"@id": f"files-{arch_id}"}}
    fields = [
        _field(arch_id, "pz_run_id", "sc:Text", "run of the checkpoint", source),
        _field(arch_id, "pz_step", "sc:Integer", "optimiser steps taken", source),
    ]
    for tensor in tensors:
        kind = _KINDS.get(tensor["dtype"])
        if kind is None:
            continue
        shape = " x ".join(map(str, tensor["shape"])) or "scalar"
        meaning = f"{tensor['role']} of shape {shape}, in C order"
        field = _field(arch_id, tensor["column_name"], kind, meaning, source)
        fields.append(field | {"repeated": True})
    return {
        "@type": "cr:RecordSet",
        "@id": arch_id,
        "name": arch_id,
        "description": "One row per checkpoint, one field per tensor. Tensors that are "
        "stored as bytes (bfloat16 and others that Parquet would widen) are left out.",
        "key": [{"@id": f"{arch_id}/pz_run_id"}, {"@id": f"{arch_id}/pz_step"}],
        "field": fields[:MOST_FIELDS],
    }


def _field(record_set: str, column: str, kind: str, meaning: str, source: Json) -> Json:
    # An id is part of an address, in which names may not stand as they are.
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{quote(column, safe='')}",
        "name": column,
        "description": meaning,
        "dataType": kind,
        "source": source | {"extract": {"column": column}},
    }
