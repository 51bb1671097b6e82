"""Recording the kernels of one training step, and running them again.

On small networks the interpreter, autograd, views and memory allocation cost more than
the arithmetic. So a step is recorded once, as a CUDA graph records it on a GPU: every
ATen call is noted, views are kept as they are, a call that returns new memory is
replayed into the memory of its recorded result, and temporaries whose lifetimes do not
overlap share memory in one arena that stays in the cache. No compiler is needed.

Numbers, shapes and branches are frozen. `replayed` therefore proves a recording on fresh
inputs, bit by bit, before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_FILLED = {
    "zeros": 0,
    "zeros_like": 0,
    "new_zeros": 0,
    "ones": 1,
    "ones_like": 1,
    "new_ones": 1,
}
_UNFILLED = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"}
_VALUE_AT = {"full": 1, "full_like": 1, "new_full": 2, "scalar_tensor": 0}
_ALIGN = 64

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def replayed(
    step: Callable[[], Tensor], outputs: list[Tensor], refill: Callable[[], None]
) -> Callable[[], Tensor]:
    """A recording of ``step`` if it gives the same bits as ``step``, else ``step``.

    Parameters
    ----------
    step : callable
        Reads and writes the same tensors at every call, and returns one.
    outputs : list of Tensor
        What ``step`` writes.
    refill : callable
        Puts fresh values into what ``step`` reads.
    """
    recording = Replay(step)
    for _ in range(2):
        refill()
        expected = [step().detach().clone(), *(t.detach().clone() for t in outputs)]
        for tensor in outputs:
            tensor.detach().zero_()
        found = [recording(), *outputs]
        pairs = zip(expected, found, strict=True)
        if not all(torch.equal(_bits(a), _bits(b)) for a, b in pairs):
            return step
    return recording


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(torch.int32)


class Replay:
    """The kernels of one call of a function on fixed memory.

    Parameters
    ----------
    function : callable
        Called twice, for real.
    """

    def __init__(self, function: Callable[[], Tensor]) -> None:
        function()  # what is initialised lazily stays out of the recording
        with _Recorder() as recorder:
            self._result = function()
        _pack(recorder, self._result)
        self._calls: list[Call] = [
            (call, tuple(_detached(a) for a in arguments), options)
            for call, arguments, options in recorder.calls
        ]

    def __call__(self) -> Tensor:
        """Run the kernels again; the same tensor, with new values."""
        with torch.no_grad():
            for call, arguments, options in self._calls:
                call(*arguments, **options)
        return self._result


class _Recorder(TorchDispatchMode):
    """Notes every call as one that writes into memory that exists."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.kept: list[Tensor] = []
        self.made: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        self.kept += inputs + outputs
        if func._schema.is_mutable:
            copies = func.overloadpacket.__name__ == "copy_"
            self._note(Tensor.copy_ if copies else func._op, args, kwargs)
        elif not {_storage(t) for t in outputs} & {_storage(t) for t in inputs}:
            for tensor in outputs:
                self.made[_storage(tensor)] = tensor
            self._note_new(func, args, kwargs, out, outputs)
        return out

    def _note_new(
        self, func: Any, args: Any, kwargs: Any, out: Any, outputs: list[Tensor]
    ) -> None:
        """Note a call that returned new memory."""
        name = func.overloadpacket.__name__
        if name in _UNFILLED:
            return
        if name in _FILLED:
            self._note(Tensor.fill_, (out, _FILLED[name]), {})
        elif name in _VALUE_AT:
            self._note(Tensor.fill_, (out, args[_VALUE_AT[name]]), {})
        elif name in ("clone", "_to_copy"):
            self._note(Tensor.copy_, (out, args[0]), {})
        else:
            call, names = _out_overload(func)
            if call is None or len(names) != len(outputs):
                self._note(_call_and_copy, (func._op, outputs, args, kwargs), {})
                return
            if names == ["out"]:
                call = _python_function(name, args, kwargs, out) or call
            into = dict(zip(names, outputs, strict=True))
            self._note(call, args, {**kwargs, **into})

    def _note(self, call: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.calls.append((call, tuple(args), kwargs))


def _out_overload(func: Any) -> tuple[Callable[..., Any] | None, list[str]]:
    """The overload that writes into given tensors, and the names of those arguments."""
    given = [(a.name, str(a.type)) for a in func._schema.arguments]
    packet = func.overloadpacket
    for overload in packet.overloads():
        candidate = getattr(packet, overload)
        arguments = candidate._schema.arguments
        names = [a.name for a in arguments if a.is_out]
        others = [(a.name, str(a.type)) for a in arguments if not a.is_out]
        if len(names) == len(func._schema.returns) and others == given:
            return candidate._op, names
    return None, []


def _python_function(
    name: str, args: Any, kwargs: Any, out: Tensor
) -> Callable[..., Any] | None:
    """``torch.<name>`` if it takes the same arguments: it parses them faster."""
    function: Callable[..., Any] | None = getattr(torch, name, None)
    if function is None:
        return None
    try:
        function(*args, **kwargs, out=torch.empty_like(out))
    except (TypeError, RuntimeError):
        return None
    return function


def _call_and_copy(
    call: Callable[..., Any], outputs: list[Tensor], args: Any, kwargs: Any
) -> None:
    for into, result in zip(outputs, _tensors(call(*args, **kwargs)), strict=True):
        into.copy_(result)


def _pack(recorder: _Recorder, result: Tensor) -> None:
    """Move temporaries into one arena; two share memory if their lifetimes allow it."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, (_, args, kwargs) in enumerate(recorder.calls):
        for tensor in _tensors((args, kwargs)):
            key = _storage(tensor)
            if key in recorder.made:
                first.setdefault(key, position)
                last[key] = position
    if _storage(result) in first:
        last[_storage(result)] = len(recorder.calls)
    size = {
        key: -(-recorder.made[key].untyped_storage().nbytes() // _ALIGN) * _ALIGN
        for key in first
    }
    offset: dict[int, int] = {}
    for key in sorted(first, key=lambda key: first[key]):
        taken = sorted(
            (offset[o], offset[o] + size[o]) for o in offset if last[o] >= first[key]
        )
        at = 0
        for low, high in taken:
            if at + size[key] <= low:
                break
            at = max(at, high)
        offset[key] = at
    total = max((offset[key] + size[key] for key in offset), default=0)
    arena = torch.empty(total + _ALIGN, dtype=torch.uint8)
    shift = -arena.data_ptr() % _ALIGN
    tensors = {id(tensor): tensor for tensor in [*recorder.kept, result]}.values()
    moves = [(t, offset[_storage(t)]) for t in tensors if _storage(t) in offset]
    with torch.no_grad():
        for tensor, at in moves:
            start = (at + shift) // tensor.element_size() + tensor.storage_offset()
            moved = torch.empty(0, dtype=tensor.dtype)
            moved.set_(arena.untyped_storage(), start, tensor.shape, tensor.stride())
            tensor.data = moved


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value
