"""Axis symbols of modules in memory, derived from their layers, not from names.

Axes with the same symbol permute together. Only `torch.nn.Sequential`, nested or not, of
layers that are known here has symbols. Inputs are not known, so the batch axis is assumed
to come first, and linear layers are assumed to read ``(batch, features)``. Any other module
may mix, tie or split units, and has None on every axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

Axes: TypeAlias = tuple[str | None, ...]

_ELEMENTWISE = {
    nn.ReLU, nn.ReLU6, nn.GELU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.SiLU, nn.ELU,
    nn.SELU, nn.Softplus, nn.Identity, nn.Dropout, nn.AlphaDropout,
}  # fmt: skip
# Number of axes behind batch and channels that a module expects. With another number of
# axes, the module would take another axis for the channels.
_POSITIONS: dict[type[nn.Module], int] = {
    nn.Dropout1d: 1, nn.Dropout2d: 2, nn.Dropout3d: 3,
    nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3,
    nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3,
    nn.AdaptiveMaxPool1d: 1, nn.AdaptiveMaxPool2d: 2, nn.AdaptiveMaxPool3d: 3,
    nn.AdaptiveAvgPool1d: 1, nn.AdaptiveAvgPool2d: 2, nn.AdaptiveAvgPool3d: 3,
}  # fmt: skip
_LAYERS = {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}
_NORMS: dict[type[nn.Module], tuple[int, ...]] = {
    nn.BatchNorm1d: (0, 1), nn.BatchNorm2d: (2,), nn.BatchNorm3d: (3,),
}  # fmt: skip


class _NotKnown(Exception):
    """Raised for a module that is not known to keep units apart."""


def module_axes(module: nn.Module) -> dict[str, Axes]:
    """Return the axis symbols of a module's state.

    Parameters
    ----------
    module : torch.nn.Module
        Module to examine.

    Returns
    -------
    dict of str to tuple of (str or None)
        One symbol or None per axis of every tensor of the state dict. All are None unless
        the module is a `torch.nn.Sequential` of known layers, without hooks, and no two of
        its tensors share memory.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3, bias=False))
    >>> module_axes(net)
    {'0.weight': ('hidden1', None), '0.bias': ('hidden1',), '2.weight': (None, 'hidden1')}
    """
    state = module.state_dict(keep_vars=True)
    try:
        axes = _sequence_axes(module)
    except _NotKnown:
        axes = {}
    if axes and (axes.keys() != state.keys() or _share_memory(list(state.values()))):
        axes = {}
    return {name: axes.get(name, (None,) * value.dim()) for name, value in state.items()}


@dataclass
class _Flow:
    """State of the walk from layer to layer.

    Attributes
    ----------
    layers : int
        Number of linear and convolutional layers of the module.
    symbol : str or None
        Symbol of the current units; None if they are not permuted, as the inputs.
    units : int
        Number of current units; 0 before the first layer.
    positions : int or None
        Number of axes behind the channels, 0 for features; None before the first layer.
    flat : bool
        Whether channels were flattened, so that units span several positions.
    layer : int
        Number of layers passed so far.
    axes : dict of str to tuple
        Symbols of the tensors passed so far.
    """

    layers: int
    symbol: str | None = None
    units: int = 0
    positions: int | None = None
    flat: bool = False
    layer: int = 0
    axes: dict[str, Axes] = field(default_factory=dict)

    def through(self, name: str, module: nn.Module) -> None:
        """Pass one module, or raise `_NotKnown`."""
        kind = type(module)
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            self._layer(name, module)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            if self.positions not in (None, *_NORMS[kind]):
                raise _NotKnown
            self._norm(name, module, module.num_features)
        elif isinstance(module, nn.LayerNorm):
            self._layer_norm(name, module)
        elif isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise _NotKnown
            self.flat |= bool(self.positions)
            self.positions = self.positions and 0
        elif kind not in _ELEMENTWISE and self.positions not in (None, _POSITIONS[kind]):
            raise _NotKnown

    def _layer(self, name: str, module: nn.Linear | nn.modules.conv._ConvNd) -> None:
        if isinstance(module, nn.Linear):
            positions, inputs, outputs = 0, module.in_features, module.out_features
        else:
            positions = len(module.kernel_size)
            inputs, outputs = module.in_channels, module.out_channels
            if module.groups != 1:
                raise _NotKnown
        if self.positions not in (None, positions):
            raise _NotKnown
        input_symbol = self._spanning(inputs)
        self.layer += 1
        kind = "channels" if positions else "hidden"
        self.symbol = f"{kind}{self.layer}" if self.layer < self.layers else None
        self.units, self.positions, self.flat = outputs, positions, False
        self.axes[f"{name}.weight"] = (self.symbol, input_symbol, *[None] * positions)
        if module.bias is not None:
            self.axes[f"{name}.bias"] = (self.symbol,)

    def _norm(self, name: str, module: nn.Module, size: int) -> None:
        symbol = self._spanning(size)
        for leaf, value in module.state_dict(keep_vars=True).items():
            self.axes[f"{name}.{leaf}"] = (symbol,) if value.dim() else ()

    def _layer_norm(self, name: str, module: nn.LayerNorm) -> None:
        if self.symbol is None:  # over inputs or outputs, which stay in order
            for leaf, value in module.state_dict(keep_vars=True).items():
                self.axes[f"{name}.{leaf}"] = (None,) * value.dim()
        elif self.positions == 0 and len(module.normalized_shape) == 1:
            self._norm(name, module, module.normalized_shape[0])
        else:
            raise _NotKnown

    def _spanning(self, size: int) -> str | None:
        """Return the symbol of an axis of this size, on which the units lie in blocks."""
        if self.symbol is None:
            return None
        block, rest = divmod(size, self.units) if self.units else (0, 1)
        if rest or block < 1 or (block > 1 and not self.flat):
            raise _NotKnown
        return self.symbol if block == 1 else f"{self.symbol}*{block}"


def _sequence_axes(module: nn.Module) -> dict[str, Axes]:
    """Return the symbols of a sequence of known layers, or raise `_NotKnown`."""
    leaves = []
    for name, part in module.named_modules(remove_duplicate=False):
        if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
            raise _NotKnown
        if type(part) is nn.Sequential:
            continue
        if not name or not _known(part):
            raise _NotKnown
        leaves.append((name, part))
    layers = sum(type(part) in _LAYERS for _, part in leaves)
    flow = _Flow(layers)
    for name, part in leaves:
        flow.through(name, part)
    return flow.axes


def _known(part: nn.Module) -> bool:
    # Exact types only: a subclass may compute something else.
    others = {nn.LayerNorm, nn.Flatten, *_POSITIONS, *_NORMS}
    return type(part) in _LAYERS | _ELEMENTWISE | others


def _share_memory(tensors: list[Tensor]) -> bool:
    """Return whether tensors share memory, so that they would have to permute alike."""
    places = [t.untyped_storage().data_ptr() for t in tensors if t.numel()]
    return len(set(places)) < len(places)
