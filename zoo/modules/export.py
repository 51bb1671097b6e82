"""A plain state dict, as `torch.save` writes it."""

from __future__ import annotations

from typing import BinaryIO

import torch

from catalog import Selection
from zoo.modules.tensors import as_torch


def write_pt(selection: Selection, file: BinaryIO) -> None:
    """One network: ``module.load_state_dict(torch.load(FILE, weights_only=True))``."""
    layout = selection.layout
    state = {
        name: as_torch(values, layout[name].dtype) for name, values in selection[0].items()
    }
    torch.save(state, file)
