"""Axis symbols of the networks of one import, by the rule that the user chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from catalog.formats.format import Network, Tensor
from catalog.importing.axes import Axes, AxesRule, check_axes_rule, infer_axes
from catalog.importing.foreign_layout import layout_of

_ADVICE = (
    "{} without axis symbols, because the names do not prove a chain of layers. If the "
    "layers are a chain: --axes chain"
)
_KEPT = (
    "{} known networks keep their axis symbols. To change the symbols: phasezoo rm, then "
    "import again"
)


class Symbols:
    """Assignment of axis symbols to networks, with a record of unproven chains.

    Parameters
    ----------
    rule : {"certain", "chain", "none"}
        Rule of inference, see `infer_axes`. Axes that a format knows are kept, except
        under "none".

    Raises
    ------
    CatalogError
        If the rule does not exist.
    """

    def __init__(self, rule: AxesRule) -> None:
        check_axes_rule(rule)
        self._rule = rule
        self._known: dict[tuple[Any, ...], list[Axes]] = {}
        self._unproven: set[tuple[Any, ...]] = set()

    def of(self, network: Network) -> Network:
        """Return the network with axes on every tensor."""
        tensors = network.tensors
        if not tensors or (self._rule != "none" and _has_axes(tensors)):
            return network
        key = tuple(
            (name, t.dtype, t.values.dtype, t.values.shape, t.role)
            for name, t in tensors.items()
        )
        if key not in self._known:
            self._known[key] = self._infer(network.name, tensors, key)
        with_axes = zip(tensors.items(), self._known[key], strict=True)
        return replace(
            network, tensors={name: replace(t, axes=axes) for (name, t), axes in with_axes}
        )

    def notes(self, known: int) -> list[str]:
        """Return notes about axis symbols for the user of an import.

        Parameters
        ----------
        known : int
            Number of networks that were in the catalogue already.
        """
        count = len(self._unproven)
        layouts = "1 layout" if count == 1 else f"{count} layouts"
        notes = [_ADVICE.format(layouts)] if count else []
        if known and self._rule != "certain":
            notes.append(_KEPT.format(f"{known:,}"))
        return notes

    def _infer(
        self, where: str, tensors: Mapping[str, Tensor], key: tuple[Any, ...]
    ) -> list[Axes]:
        without_axes = {
            name: replace(tensor, axes=None) for name, tensor in tensors.items()
        }
        params = layout_of(where, without_axes, self._rule).params
        axes = [param.axes for param in params]
        if (
            self._rule == "certain"
            and not _has_symbols(axes)
            and _has_symbols(infer_axes(params, "chain"))
        ):
            self._unproven.add(key)
        return axes


def _has_axes(tensors: Mapping[str, Tensor]) -> bool:
    return any(tensor.axes is not None for tensor in tensors.values())


def _has_symbols(axes: list[Axes]) -> bool:
    return any(symbol is not None for param_axes in axes for symbol in param_axes)
