"""Which axes of a foreign network permute together, where that is certain.

Only plain chains get symbols: ``weight`` and ``bias`` pairs of linear and convolution
layers in torch's (out, in, ...) order, batch normalisation right behind a layer, and
at most one step from convolutions to linear layers. Names must be those of a flat
sequence: numbers (`nn.Sequential`), or a layer's word and its number. Everything else,
such as nested blocks, which may hide a residual sum, gets None on every axis: a symbol
that is wrong would let permutations change what a network computes.

A state dict says which tensors there are, not how they are used. A chain is certain if
its numbers leave room for what `nn.Sequential` runs between layers, or if all of its
widths differ, so that nothing can be added to anything else or fed back. Even then, what
has no tensors leaves no trace: a normalisation without parameters, groups of the first
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
"""How much is taken for granted where axis symbols are inferred."""

_LAYER_WORDS = ("l", "layer", "hidden", "fc", "linear", "lin", "dense", "conv")
_NORM_WORDS = ("bn", "batchnorm", "batch_norm", "norm")
_CONTAINERS = ("module", "model", "net", "network", "layers", "sequential", "mlp", "cnn")
_LAST = ("fc", "linear", "out", "output", "head", "classifier")
_NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


class _NotAChain(Exception):
    """Something that no plain chain has."""


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
    """Axis symbols of a network's tensors.

    Parameters
    ----------
    params : sequence of Param
        In state-dict order. Constants are ignored: they belong to no layer.
    rule : {"certain", "chain", "none"}, default="certain"
        "certain" asks names and shapes for a proof that the network is a chain.
        "chain" says that it is one, in the order of its names. "none" gives no symbols.

    Returns
    -------
    list of tuple of (str or None)
        One symbol or None per axis; all None unless the network is a chain.

    Examples
    --------
    >>> sizes = {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
    >>> infer_axes([Param(name, shape) for name, shape in sizes.items()])
    [('hidden1', None), ('hidden1',), (None, 'hidden1'), (None,)]

    Here the second layer may be a residual block or a recurrence:

    >>> sizes = {"fc1.weight": (8, 4), "fc2.weight": (8, 8), "fc3.weight": (3, 8)}
    >>> params = [Param(name, shape) for name, shape in sizes.items()]
    >>> infer_axes(params)
    [(None, None), (None, None), (None, None)]
    >>> infer_axes(params, "chain")
    [('hidden1', None), ('hidden2', 'hidden1'), (None, 'hidden2')]
    """
    found: dict[str, Axes] = {}
    try:
        if rule != "none":
            modules = _modules([p for p in params if p.role != "constant"])
            modules = _forward_order(modules)
            found = _chain(modules)
            if rule == "certain":
                _prove(modules)
    except _NotAChain:
        found = {}
    return [found.get(param.name, (None,) * len(param.shape)) for param in params]


def _modules(params: Sequence[Param]) -> list[_Module]:
    split = [param.name.rpartition(".") for param in params]
    prefix = _common_prefix([module for module, _, _ in split])
    modules: list[_Module] = []
    for param, (module, _, leaf) in zip(params, split, strict=True):
        name = module[len(prefix) :]
        if not modules or modules[-1].name != name:
            if name in (m.name for m in modules):
                raise _NotAChain
            modules.append(_Module(name))
        modules[-1].tensors[leaf] = param
    return modules


def _common_prefix(modules: Sequence[str]) -> str:
    """Plain containers that all modules are in, such as ``model.``; no blocks."""
    prefix = ""
    while modules and all("." in module[len(prefix) :] for module in modules):
        first = modules[0][: modules[0].index(".", len(prefix)) + 1]
        if not all(module.startswith(first) for module in modules):
            break
        if first[len(prefix) : -1] not in _CONTAINERS:
            break
        prefix = first
    return prefix


def _prove(modules: Sequence[_Module]) -> None:
    """Raise unless nothing but the chain has these names and shapes."""
    weights = [_weight(module) for module in modules if not module.is_norm]
    if not (_numbered_as_sequential(modules) or _widths_differ(weights)):
        raise _NotAChain
    convs = [weight.shape for weight in weights if len(weight.shape) > 2]
    # Transposed convolutions are stored (in, out, ...): the same shape if both are equal.
    if any(shape[0] == shape[1] for shape in convs):
        raise _NotAChain
    if convs and not _order_is_seen(modules):
        raise _NotAChain


def _numbered_as_sequential(modules: Sequence[_Module]) -> bool:
    """Whether between any two layers a number is left for an activation.

    Without one, the numbers may be those of a list that a forward pass goes through, with
    activations and residual sums of its own.
    """
    if not all(module.name.isdecimal() for module in modules):
        return False
    places = [i for i, module in enumerate(modules) if not module.is_norm]
    return all(
        int(modules[j].name) - int(modules[i].name) > j - i for i, j in pairwise(places)
    )


def _widths_differ(weights: Sequence[Param]) -> bool:
    """Whether no two widths are equal: a sum or a recurrence needs two equal ones."""
    widths = [weights[0].shape[1]]
    for weight in weights:
        out, into = weight.shape[:2]
        if into != widths[-1]:
            widths.append(into)  # flattened channels
        widths.append(out)
    return len(set(widths)) == len(widths)


def _order_is_seen(modules: Sequence[_Module]) -> bool:
    """Whether a bias or a normalisation tells outputs of a convolution from inputs.

    One is enough: it fixes the layers before and behind, as none of them is square.
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
    symbol: str | None = None  # of what flows out of the layer before
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
        out, into = weight.shape[:2]
        flattens = rank > 2 and len(weight.shape) == 2
        if rank and len(weight.shape) != rank and not flattens:
            raise _NotAChain
        block = into // units if flattens else 1
        if units and into != units * block:
            raise _NotAChain
        before = f"{symbol}*{block}" if block > 1 else symbol
        rank, units, last = len(weight.shape), out, module is layers[-1]
        kind = "channels" if rank > 2 else "hidden"
        symbol = None if last else f"{kind}{layers.index(module) + 1}"
        axes[weight.name] = (symbol, before if into else None, *[None] * (rank - 2))
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
    """Modules as the network runs them, if their names say so.

    The stored order alone is no proof: some files are sorted by name.
    """
    if all(module.name.isdecimal() for module in modules):
        return sorted(modules, key=lambda module: int(module.name))
    places: list[tuple[tuple[int, int, int], _Module]] = []
    words: dict[int, str] = {}
    before: tuple[_Module, str, tuple[int, int, int]] | None = None
    for module in modules:
        match = re.fullmatch(r"([a-z_]+?)_?(\d+)", module.name)
        if module.is_norm:
            # Its number and its place must name one layer; bn2 behind conv1 does not.
            if before is None or match is None or match[1] not in _NORM_WORDS:
                raise _NotAChain
            if before[0].is_norm or match[2] != before[1]:
                raise _NotAChain
            place = (*before[2][:2], 1)
            before = (module, match[2], place)
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
            before = (module, number, place)
        places.append((place, module))
    if len({place for place, _ in places}) < len(places):
        raise _NotAChain
    return [module for _, module in sorted(places, key=lambda item: item[0])]
