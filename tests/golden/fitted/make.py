"""Fitted things as files: ``make.py FOLDER`` writes what `test_golden_fitted` reads.

The files beside this script were made with it once, before files of fitted things had a
kind and, but for generators, a digest. They are never written again.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

import probes
from catalog import Canonicaliser, Layout, Param, Population
from generators.nulls import Train
from probes.estimators import LinearProbe
from probes.learning.descent_state import Curve, DescentState, write_state

LAYOUT = Layout((Param("in", (3, 2), ("h", None)), Param("out", (2, 3), (None, "h"))))
MATRIX = Layout((Param("w", (4, 3)),))


def networks(layout: Layout, n: int) -> Population:
    """Networks (n, d) of fixed numbers, exact in float32."""
    weights = (np.arange(n * layout.d) * 37 % 101 - 50).reshape(n, -1) / np.float32(64)
    table = pa.table({"run_id": [f"run {i}" for i in range(n)], "step": [5] * n})
    return Population(weights.astype(np.float32), layout, table)


def answers(folder: Path) -> dict[str, object]:
    """What the fitted things in a folder give."""
    weights = networks(MATRIX, 12).weights
    aligned = Canonicaliser.load(folder / "canonicaliser.safetensors")
    null = Train.load(folder / "generator.safetensors")
    probe = probes.load(folder / "probe.safetensors")
    return {
        "canonicaliser": aligned.transform(networks(LAYOUT, 5)).weights.tolist(),
        "generator": null.sample(4, seed=3).weights.tolist(),
        "probe": np.asarray(probe.predict(weights)).tolist(),
    }


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network of fixed numbers after one step of its optimiser."""
    found = nn.Linear(3, 2)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / 8)
    optimizer = torch.optim.Adam(found.parameters(), lr=0.125)
    found(torch.tensor([[1.0, 2.0, -1.0]])).sum().backward()
    optimizer.step()
    return found, optimizer


def numbers(found: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Weights, and first moments of the optimiser."""
    return {
        name: [p.tolist(), optimizer.state[p]["exp_avg"].tolist()]
        for name, p in found.named_parameters()
    }


def main(folder: Path) -> None:
    """Fit, and write the files and what they give."""
    some, weights = networks(LAYOUT, 8), networks(MATRIX, 12).weights
    Canonicaliser("reference", reference=0).fit(some).save(
        folder / "canonicaliser.safetensors"
    )
    Train().fit(some).save(folder / "generator.safetensors")
    linear = LinearProbe().fit(weights, weights[:, 0])
    probes.save(linear, folder / "probe.safetensors", {"target": "x"})
    made = network()
    state = DescentState(2, Curve([2], [0.5], [0.75], [0.25]), dict(made[0].state_dict()))
    write_state(folder / "descent.safetensors", state, "a fit", *made)
    told = {**answers(folder), "descent": numbers(*made)}
    (folder / "expected.json").write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
