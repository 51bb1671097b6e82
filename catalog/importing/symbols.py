"""Axis symbols of the networks of one import, by the rule that its user chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from catalog.formats.format import Network, Tensor
from catalog.importing.axes import Axes, AxesRule, check_axes_rule, infer_axes
from catalog.importing.foreign_layout import layout_of

_ADVICE = "{}: no axis symbols: the names do not prove a chain; if it is one: --axes chain"
_KEPT = (
    "{} networks were known and keep their axis symbols; to change them: phasezoo rm, then "
    "import again"
)


class Symbols:
    """Gives networks their axis symbols and remembers where some were held back.

    Parameters
    ----------
    rule : {"certain", "chain", "none"}
        See `infer_axes`. What a format knows is kept, except under "none".

    Raises
    ------
    CatalogError
        If there is no such rule.
    """

    def __init__(self, rule: AxesRule) -> None:
        check_axes_rule(rule)
        self._rule = rule
        self._known: dict[tuple[Any, ...], list[Axes]] = {}
        self._unproven: set[tuple[Any, ...]] = set()

    def of(self, network: Network) -> Network:
        """The network, with axes on every tensor."""
        tensors = network.tensors
        if not tensors or (self._rule != "none" and _given(tensors)):
            return network
        key = tuple(
            (name, t.dtype, t.values.dtype, t.values.shape, t.role)
            for name, t in tensors.items()
        )
        if key not in self._known:
            self._known[key] = self._infer(network.name, tensors, key)
        found = zip(tensors.items(), self._known[key], strict=True)
        return replace(
            network, tensors={name: replace(t, axes=axes) for (name, t), axes in found}
        )

    def notes(self, known: int) -> list[str]:
        """What the user of an import should know about symbols, a sentence each.

        Parameters
        ----------
        known : int
            How many networks were in the catalogue already.
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
        bare = {name: replace(tensor, axes=None) for name, tensor in tensors.items()}
        params = layout_of(where, bare, self._rule).params
        axes = [param.axes for param in params]
        if self._rule == "certain" and not _any(axes) and _any(infer_axes(params, "chain")):
            self._unproven.add(key)
        return axes


def _given(tensors: Mapping[str, Tensor]) -> bool:
    return any(tensor.axes is not None for tensor in tensors.values())


def _any(axes: list[Axes]) -> bool:
    return any(symbol is not None for own in axes for symbol in own)
