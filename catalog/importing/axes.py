"""Inference of the axis symbols of foreign networks.

Only plain chains get symbols: ``weight`` and ``bias`` pairs of linear and convolution
layers in torch's (out, in, ...) order, with batch normalisation directly after a layer, and
at most one transition from convolutions to linear layers. The names must be those of a flat
sequence: numbers (`nn.Sequential`), or the word for a layer and its number. All other
networks, such as nested blocks, which may hide a residual sum, get None on every axis,
because a wrong symbol would let permutations change the function of a network.

A state dict lists tensors, but not their use. A chain is certain if its numbers leave room
for the activations that `nn.Sequential` runs between layers, or if all its widths differ,
so that no layer can be added to another layer or fed back. Even then, operations without
tensors leave no trace: a normalisation without parameters, or groups of the first
convolution.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

from catalog.errors import CatalogError
from catalog.layout import Param

Axes = tuple[str | None, ...]
AxesRule = Literal["certain", "chain", "none"]
"""Rule for the inference of axis symbols, see `infer_axes`."""

_LAYER_WORDS = ("l", "layer", "hidden", "fc", "linear", "lin", "dense", "conv")
_NORM_WORDS = ("bn", "batchnorm", "batch_norm", "norm")
_CONTAINERS = ("module", "model", "net", "network", "layers", "sequential", "mlp", "cnn")
_LAST = ("fc", "linear", "out", "output", "head", "classifier")
_NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


class _NotAChain(Exception):
    """Raised for networks that are not plain chains."""


@dataclass
class _Module:
    name: str
    tensors: dict[str, Param] = field(default_factory=dict)

    @property
    def is_norm(self) -> bool:
        return "running_mean" in self.tensors


def check_axes_rule(rule: str) -> None:
    """Raise a CatalogError unless a rule is one of `AxesRule`."""
    if rule not in get_args(AxesRule):
        raise CatalogError(
            f"axes must be one of {', '.join(get_args(AxesRule))}. Got {rule!r}."
        )


def infer_axes(params: Sequence[Param], rule: AxesRule = "certain") -> list[Axes]:
    """Infer the axis symbols of a network's tensors.

    Parameters
    ----------
    params : sequence of Param
        Tensors in state-dict order. Constants are ignored, since they belong to no layer.
    rule : {"certain", "chain", "none"}, default="certain"
        "certain" gives symbols only if names and shapes prove that the network is a chain.
        "chain" asserts that the network is a chain in the order of its names. "none" gives
        no symbols.

    Returns
    -------
    list of tuple of (str or None)
        One symbol or None per axis; all None unless the network is a chain.

    Examples
    --------
    >>> sizes = {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
    >>> infer_axes([Param(name, shape) for name, shape in sizes.items()])
    [('hidden1', None), ('hidden1',), (None, 'hidden1'), (None,)]

    In the following network, the second layer may be a residual block or a recurrence:

    >>> sizes = {"fc1.weight": (8, 4), "fc2.weight": (8, 8), "fc3.weight": (3, 8)}
    >>> params = [Param(name, shape) for name, shape in sizes.items()]
    >>> infer_axes(params)
    [(None, None), (None, None), (None, None)]
    >>> infer_axes(params, "chain")
    [('hidden1', None), ('hidden2', 'hidden1'), (None, 'hidden2')]
    """
    axes: dict[str, Axes] = {}
    try:
        if rule != "none":
            modules = _modules([p for p in params if p.role != "constant"])
            modules = _forward_order(modules)
            axes = _chain(modules)
            if rule == "certain":
                _check_proof(modules)
    except _NotAChain:
        axes = {}
    return [axes.get(param.name, (None,) * len(param.shape)) for param in params]


def _modules(params: Sequence[Param]) -> list[_Module]:
    split_names = [param.name.rpartition(".") for param in params]
    prefix = _common_prefix([module for module, _, _ in split_names])
    modules: list[_Module] = []
    for param, (module, _, leaf) in zip(params, split_names, strict=True):
        name = module[len(prefix) :]
        if not modules or modules[-1].name != name:
            if name in (m.name for m in modules):
                raise _NotAChain
            modules.append(_Module(name))
        modules[-1].tensors[leaf] = param
    return modules


def _common_prefix(modules: Sequence[str]) -> str:
    """Return the common prefix of plain containers, such as ``model.``; no blocks."""
    prefix = ""
    while modules and all("." in module[len(prefix) :] for module in modules):
        first = modules[0][: modules[0].index(".", len(prefix)) + 1]
        if not all(module.startswith(first) for module in modules):
            break
        if first[len(prefix) : -1] not in _CONTAINERS:
            break
        prefix = first
    return prefix


def _check_proof(modules: Sequence[_Module]) -> None:
    """Raise unless only a chain can have these names and shapes."""
    weights = [_weight(module) for module in modules if not module.is_norm]
    if not (_numbered_as_sequential(modules) or _widths_differ(weights)):
        raise _NotAChain
    convs = [weight.shape for weight in weights if len(weight.shape) > 2]
    # Transposed convolutions are stored (in, out, ...): square ones look the same.
    if any(shape[0] == shape[1] for shape in convs):
        raise _NotAChain
    if convs and not _order_is_visible(modules):
        raise _NotAChain


def _numbered_as_sequential(modules: Sequence[_Module]) -> bool:
    """Return True if the numbers leave room for an activation between any two layers.

    Otherwise the numbers may be those of a list that a forward pass iterates over, with
    separate activations and residual sums.
    """
    if not all(module.name.isdecimal() for module in modules):
        return False
    places = [i for i, module in enumerate(modules) if not module.is_norm]
    return all(
        int(modules[j].name) - int(modules[i].name) > j - i for i, j in pairwise(places)
    )


def _widths_differ(weights: Sequence[Param]) -> bool:
    """Return True if all widths differ, which rules out sums and recurrences."""
    widths = [weights[0].shape[1]]
    for weight in weights:
        n_out, n_in = weight.shape[:2]
        if n_in != widths[-1]:
            widths.append(n_in)  # flattened channels
        widths.append(n_out)
    return len(set(widths)) == len(widths)


def _order_is_visible(modules: Sequence[_Module]) -> bool:
    """Return True if a bias or normalisation identifies the outputs of a convolution.

    One identified convolution suffices: it fixes the layers before and after, because none
    of them is square.
    """
    return any(
        "bias" in module.tensors or following.is_norm
        for module, following in pairwise([*modules, _Module("")])
        if not module.is_norm and len(_weight(module).shape) > 2
    )


def _chain(modules: Sequence[_Module]) -> dict[str, Axes]:
    layers = [module for module in modules if not module.is_norm]
    if len(layers) < 2:
        raise _NotAChain
    axes: dict[str, Axes] = {}
    symbol: str | None = None  # symbol of the outputs of the previous layer
    units = rank = 0
    after_layer = False
    for module in modules:
        if module.is_norm:
            if not after_layer:
                raise _NotAChain
            axes |= _norm_axes(module, units, symbol)
            after_layer = False
            continue
        weight = _weight(module)
        n_out, n_in = weight.shape[:2]
        flattens = rank > 2 and len(weight.shape) == 2
        if rank and len(weight.shape) != rank and not flattens:
            raise _NotAChain
        block = n_in // units if flattens else 1
        if units and n_in != units * block:
            raise _NotAChain
        in_symbol = f"{symbol}*{block}" if block > 1 else symbol
        rank, units, is_last = len(weight.shape), n_out, module is layers[-1]
        kind = "channels" if rank > 2 else "hidden"
        symbol = None if is_last else f"{kind}{layers.index(module) + 1}"
        axes[weight.name] = (symbol, in_symbol if n_in else None, *[None] * (rank - 2))
        if "bias" in module.tensors:
            axes[module.tensors["bias"].name] = (symbol,)
        after_layer = True
    return axes


def _weight(module: _Module) -> Param:
    weight, bias = module.tensors.get("weight"), module.tensors.get("bias")
    if weight is None or module.tensors.keys() - {"weight", "bias"}:
        raise _NotAChain
    if not 2 <= len(weight.shape) <= 5 or not weight.size:
        raise _NotAChain
    if bias is not None and bias.shape != weight.shape[:1]:
        raise _NotAChain
    return weight


def _norm_axes(module: _Module, units: int, symbol: str | None) -> dict[str, Axes]:
    if module.tensors.keys() - _NORM:
        raise _NotAChain
    axes: dict[str, Axes] = {}
    for leaf, param in module.tensors.items():
        shape = () if leaf == "num_batches_tracked" else (units,)
        if param.shape != shape:
            raise _NotAChain
        axes[param.name] = () if not shape else (symbol,)
    return axes


def _forward_order(modules: Sequence[_Module]) -> list[_Module]:
    """Sort modules in the order in which the network runs them, according to their names.

    The stored order alone is not reliable, since some files are sorted by name.
    """
    if all(module.name.isdecimal() for module in modules):
        return sorted(modules, key=lambda module: int(module.name))
    places: list[tuple[tuple[int, int, int], _Module]] = []
    words: dict[int, str] = {}
    previous: tuple[_Module, str, tuple[int, int, int]] | None = None
    for module in modules:
        match = re.fullmatch(r"([a-z_]+?)_?(\d+)", module.name)
        if module.is_norm:
            # Number and position must agree on the layer: bn2 after conv1 is refused.
            if previous is None or match is None or match[1] not in _NORM_WORDS:
                raise _NotAChain
            if previous[0].is_norm or match[2] != previous[1]:
                raise _NotAChain
            place = (*previous[2][:2], 1)
            previous = (module, match[2], place)
        else:
            linear = int(len(_weight(module).shape) == 2)
            if match is None and module.name in _LAST:
                place, number = (2, 0, 0), ""
            elif match is not None and match[1] in _LAYER_WORDS:
                if words.setdefault(linear, match[1]) != match[1]:
                    raise _NotAChain
                place, number = (linear, int(match[2]), 0), match[2]
            else:
                raise _NotAChain
            previous = (module, number, place)
        places.append((place, module))
    if len({place for place, _ in places}) < len(places):
        raise _NotAChain
    return [module for _, module in sorted(places, key=lambda item: item[0])]
