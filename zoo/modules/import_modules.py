"""Import of modules in memory: torch.nn, transformers, timm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import CatalogError
from catalog.formats.columns import divided, published
from catalog.formats.format import Network, Scalar, Tensor
from catalog.importing import ImportSummary, import_networks
from catalog.importing.axes import AxesRule
from catalog.importing.cells import CellColumns

if TYPE_CHECKING:
    from torch import nn

Key = str | tuple[str, int]
Modules = Mapping[Key, "nn.Module"] | Iterable["tuple[Key, nn.Module] | nn.Module"]


def import_modules(
    modules: Modules,
    root: str | Path,
    *,
    zoo: str,
    columns: Mapping[Key, Mapping[str, Scalar]] | None = None,
    source_name: str = "modules",
    load: str | None = None,
    temperature: str | None = None,
    axes: AxesRule = "certain",
    **options: Any,
) -> ImportSummary:
    """Commit modules to a catalogue.

    Parameters
    ----------
    modules : mapping or iterable
        Modules by name, or by ``(run name, step)`` for checkpoints of one run. An
        iterable yields pairs of key and module, or modules alone, which are numbered. The
        iterable may change a module and yield it again: weights are copied.
    root : str or Path
        Folder of the catalogue.
    zoo : str
        Name of the zoo.
    columns : mapping, optional
        Hyper-parameters and metrics by key, with documented names in their units.
    source_name : str, default="modules"
        Source of the modules.
    load, temperature : str, optional
        New names of the columns whose values define the cells of the zoo's grid.
    axes : {"certain", "chain", "none"}, default="certain"
        Rule for axis symbols. "certain" gives symbols to a `torch.nn.Sequential` of known
        layers, see `zoo.modules.axes`. "chain" also assumes that the layers of other
        modules form a plain chain in the order of their names; if that is wrong, permuting
        along the symbols changes what a network computes. "none" gives no symbols.
    **options
        Further options of `catalog.import_source`: ``license``, ``rename``, ``percent``,
        ``one_layout``, ``allow_nonfinite``, ``progress``. Errors call them ``--rename``
        and so on.

    Returns
    -------
    ImportSummary
        Summary of the import.

    Raises
    ------
    CatalogError
        If a state does not consist of dense tensors, or a key occurs twice.
    """
    return import_networks(
        Path(root),
        networks_of(modules, columns, axes),
        zoo=zoo,
        source_name=source_name,
        cells=CellColumns.of(load, temperature),
        axes=axes,
        **options,
    )


def networks_of(
    modules: Modules,
    columns: Mapping[Key, Mapping[str, Scalar]] | None = None,
    axes: AxesRule = "certain",
) -> Iterator[Network]:
    """Yield the records of modules, with the roles and axis symbols that modules define.

    Tensors that share memory (tied weights) are stored under each of their names, and the
    column ``tied_weights`` lists the names that are tied. See `import_modules` for the
    parameters.

    Raises
    ------
    CatalogError
        If a state does not consist of dense tensors, a key occurs twice, or ``columns``
        has a key without a module.
    """
    unused = dict(columns or {})
    seen: set[Key] = set()
    for i, item in enumerate(modules.items() if isinstance(modules, Mapping) else modules):
        key, module = item if isinstance(item, tuple) else (str(i), item)
        if key in seen:
            raise CatalogError(f"Two modules have the key {key!r}.")
        seen.add(key)
        yield _network(key, module, unused.pop(key, {}), axes)
    if unused:
        raise CatalogError(
            f"columns has {len(unused)} keys without a module, e.g. {next(iter(unused))!r}."
        )


def _network(
    key: Key, module: nn.Module, columns: Mapping[str, Scalar], axes: AxesRule
) -> Network:
    """Return the record of one module."""
    from torch.nn import Module

    run_name, step = key if isinstance(key, tuple) else (key, 0)
    name = f"{run_name}@{step}" if isinstance(key, tuple) else run_name
    if not isinstance(module, Module):
        raise CatalogError(
            f"{name!r} is a {type(module).__name__}; expected a torch.nn.Module. To import "
            "a state dict: phasezoo import FILE"
        )
    run, checkpoint = divided(published(columns), free="checkpoint")
    tensors, tied = _tensors(name, module)
    tensors = _with_axes(tensors, module, axes)
    notes: dict[str, Scalar] = {"tied_weights": tied} if tied else {}
    described: dict[str, Scalar] = {"architecture_name": type(module).__name__}
    for attribute in ("config", "pretrained_cfg"):
        value: Any = getattr(module, attribute, None)
        value = value.to_dict() if hasattr(value, "to_dict") else value
        if isinstance(value, Mapping):
            described[f"model_{attribute}"] = json.dumps(value, default=str, sort_keys=True)
    return Network(
        name,
        tensors,
        {**described, **notes, **run},
        checkpoint,
        run_name=run_name,
        step=step,
    )


def _with_axes(
    tensors: dict[str, Tensor], module: nn.Module, axes: AxesRule
) -> dict[str, Tensor]:
    """Return tensors with the symbols that the module's layers define.

    Under "chain", a module without symbols is left to the rule of the tensor names.
    """
    from zoo.modules.axes import module_axes

    symbols = module_axes(module)
    if axes == "chain" and not any(s for of_tensor in symbols.values() for s in of_tensor):
        return tensors
    return {name: replace(tensor, axes=symbols[name]) for name, tensor in tensors.items()}


def _tensors(name: str, module: nn.Module) -> tuple[dict[str, Tensor], str]:
    """Return copies of the module's state with roles, and a list of its tied tensors."""
    import torch

    from zoo.formats.torch_file import as_tensor, copied

    parameters = {key for key, _ in module.named_parameters(remove_duplicate=False)}
    tensors: dict[str, Tensor] = {}
    tied: list[str] = []
    first_name: dict[tuple[Any, ...], str] = {}
    for key, value in module.state_dict().items():
        tensor = as_tensor(value, key, f"module {name!r}")
        if value.is_floating_point():
            role = "parameter" if key in parameters else "buffer"
        else:
            is_counter = key not in parameters and value.dim() == 0
            role = "counter" if is_counter and value.dtype != torch.bool else "constant"
        tensors[key] = copied(Tensor(tensor.values, tensor.dtype, role))
        if value.numel():
            place = (value.device, value.data_ptr(), value.dtype, *value.shape)
            place += tuple(value.stride())
            if first_name.setdefault(place, key) != key:
                tied.append(f"{key} = {first_name[place]}")
    return tensors, "; ".join(tied)
