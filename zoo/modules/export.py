"""Export of one network as a plain state dict, written by `torch.save`."""

from __future__ import annotations

from typing import BinaryIO

import torch

from catalog import Selection
from zoo.modules.tensors import as_torch


def write_pt(selection: Selection, file: BinaryIO) -> None:
    """Write the first network of a selection as a state dict to an open file.

    Read the file with ``module.load_state_dict(torch.load(FILE, weights_only=True))``.
    """
    layout = selection.layout
    state = {
        name: as_torch(values, layout[name].dtype) for name, values in selection[0].items()
    }
    torch.save(state, file)
