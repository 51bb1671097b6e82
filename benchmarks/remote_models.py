"""Bytes and requests that importing one tensor of every of many models of the Hub costs.

Claim: of one tensor of at least 1 MB of 200 models at most 1.1 times the payload + 100 KB a
model are moved, with at most two requests for weight files besides redirects, one to the
API, and one for an index where there is one; a second import asks once per model. A Hub on
this machine counts. Every tenth model is divided into two files with an index.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import report, sizes

sys.path.insert(0, str(Path(__file__).parents[1]))

import catalog
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import file_blocks
from catalog.importing import ImportSummary
from tests.servers.hub import Hub

WANTED = "encoder.layer.7.output.dense.weight"
LAYERS = 12


def tensors(side: int, seed: int) -> dict[str, Tensor]:
    """Return the tensors of a transformer with the names of 12 layers; three are large."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (16, 16)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (16,)
        for part in ("attention.output", "intermediate", "output"):
            large = part == "output" and layer in (3, 7, 11)
            size = side if large else 16
            shapes[f"encoder.layer.{layer}.{part}.dense.weight"] = (size, size)
            shapes[f"encoder.layer.{layer}.{part}.dense.bias"] = (size,)
    return {
        name: Tensor(rng.standard_normal(shape, np.float32), "float32")
        for name, shape in shapes.items()
    }


def files(state: dict[str, Tensor], parts: int) -> dict[str, bytes]:
    """Return the files of a model with one or several parts."""
    if parts == 1:
        return {"model.safetensors": b"".join(file_blocks(state, {"format": "pt"}))}
    names, weight_map, content = list(state), {}, {}
    for part in range(parts):
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        inside = {name: state[name] for name in names[part::parts]}
        content[file] = b"".join(file_blocks(inside, {"format": "pt"}))
        weight_map |= dict.fromkeys(inside, file)
    index = json.dumps({"metadata": {}, "weight_map": weight_map}, indent=2)
    return content | {"model.safetensors.index.json": index.encode()}


def main() -> None:
    options = sizes(__doc__, models=(200, 6), side=(512, 512))
    card = b"---\nlicense: apache-2.0\nbase_model: lab/base\n---\n" + b"A model. " * 200
    with Hub() as hub, tempfile.TemporaryDirectory() as folder:
        os.environ["HF_TOKEN"] = hub.token
        from huggingface_hub import constants

        constants.ENDPOINT = hub.endpoint
        names, whole, divided = [], 0, 0
        for number in range(options.models):
            name = f"lab/model-{number:03}"
            hub.create(name, "models").tags_of_page = ["transformers", "license:apache-2.0"]
            content = files(tensors(options.side, number), 2 if number % 10 == 0 else 1)
            whole += sum(map(len, content.values()))
            divided += len(content) > 1
            hub.commit(name, content | {"README.md": card}, kind="models")
            names.append(name)
        listing = Path(folder) / "models.txt"
        listing.write_text("\n".join(names))

        def bring() -> ImportSummary:
            hub.traffic.clear()
            return catalog.import_source(
                Path(folder) / "zoo", str(listing), tensors=[WANTED]
            )

        started = time.perf_counter()
        done = bring()
        seconds = time.perf_counter() - started
        asked, moved = hub.traffic.requests, sum(hub.traffic.sent.values())
        paths = [request.path for request in asked]
        weights = [p for p in paths if "/resolve/" in p and p.endswith(".safetensors")]
        payload = catalog.open(Path(folder) / "zoo").read_tensor(WANTED, "true").nbytes
        allowed = int(1.1 * payload + options.models * 100_000)
        assert (done.imported, done.failed) == (options.models, {})
        assert bring().known == options.models
        report(
            "one tensor of every model",
            models=options.models,
            divided=divided,
            payload=payload,
            whole=whole,
            moved=moved,
            allowed=allowed,
            ratio=round(moved / payload, 4),
            beside_payload_per_model=round((moved - payload) / options.models),
            weight_requests_per_model=len(weights) / options.models,
            index_requests=sum(p.endswith("index.json") for p in paths),
            api_requests=sum(p.startswith("/api/") for p in paths),
            redirects_followed=sum(p.startswith("/cdn/") for p in paths),
            requests_of_a_second_import=len(hub.traffic.requests),
            seconds=round(seconds, 1),
        )


if __name__ == "__main__":
    main()
