"""Recording and replay of the kernels of one training step.

On small networks the interpreter, autograd, views and memory allocation cost more than
the arithmetic. So a step is recorded once, as a CUDA graph records it on a GPU: every
ATen call is recorded, views are kept as they are, a call that returns new memory is
replayed into the memory of its recorded result, and temporaries whose lifetimes do not
overlap share memory in one arena that stays in the cache. No compiler is needed.

Numbers, shapes and branches are frozen. `replayed` therefore compares a recording with
the original step on fresh inputs, bit by bit, before the recording is used.
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
    """Return a recording of ``step`` if it gives the same bits as ``step``, else ``step``.

    Parameters
    ----------
    step : callable
        Function that reads and writes the same tensors at every call, and returns a
        tensor.
    outputs : list of Tensor
        Tensors that ``step`` writes.
    refill : callable
        Function that fills the tensors that ``step`` reads with fresh values.
    """
    recording = Replay(step)
    for _ in range(2):
        refill()
        expected = [step().detach().clone(), *(t.detach().clone() for t in outputs)]
        for tensor in outputs:
            tensor.detach().zero_()
        results = [recording(), *outputs]
        pairs = zip(expected, results, strict=True)
        if not all(torch.equal(_bits(a), _bits(b)) for a, b in pairs):
            return step
    return recording


def _bits(tensor: Tensor) -> Tensor:
    """View float32 values as integers, so that NaN equals NaN."""
    return tensor.detach().contiguous().view(torch.int32)


class Replay:
    """Recorded kernels of one call of a function on fixed memory.

    Parameters
    ----------
    function : callable
        Function to record; it is called twice.
    """

    def __init__(self, function: Callable[[], Tensor]) -> None:
        function()  # keeps lazy initialisation out of the recording
        with _Recorder() as recorder:
            self._result = function()
        _pack(recorder, self._result)
        self._calls: list[Call] = [
            (call, tuple(_detached(a) for a in arguments), options)
            for call, arguments, options in recorder.calls
        ]

    def __call__(self) -> Tensor:
        """Run the kernels again and return the same tensor with new values."""
        with torch.no_grad():
            for call, arguments, options in self._calls:
                call(*arguments, **options)
        return self._result


class _Recorder(TorchDispatchMode):
    """Recorder of ATen calls, each as a call that writes into existing memory."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.tensors: list[Tensor] = []
        self.created: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        self.tensors += inputs + outputs
        if func._schema.is_mutable:
            copies = func.overloadpacket.__name__ == "copy_"
            self._record(Tensor.copy_ if copies else func._op, args, kwargs)
        elif not {_storage(t) for t in outputs} & {_storage(t) for t in inputs}:
            for tensor in outputs:
                self.created[_storage(tensor)] = tensor
            self._record_new(func, args, kwargs, out, outputs)
        return out

    def _record_new(
        self, func: Any, args: Any, kwargs: Any, out: Any, outputs: list[Tensor]
    ) -> None:
        """Record a call that returned new memory."""
        name = func.overloadpacket.__name__
        if name in _UNFILLED:
            return
        if name in _FILLED:
            self._record(Tensor.fill_, (out, _FILLED[name]), {})
        elif name in _VALUE_AT:
            self._record(Tensor.fill_, (out, args[_VALUE_AT[name]]), {})
        elif name in ("clone", "_to_copy"):
            self._record(Tensor.copy_, (out, args[0]), {})
        else:
            call, names = _out_overload(func)
            if call is None or len(names) != len(outputs):
                self._record(_call_and_copy, (func._op, outputs, args, kwargs), {})
                return
            if names == ["out"]:
                call = _python_function(name, args, kwargs, out) or call
            into = dict(zip(names, outputs, strict=True))
            self._record(call, args, {**kwargs, **into})

    def _record(self, call: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Append a call to the recording."""
        self.calls.append((call, tuple(args), kwargs))


def _out_overload(func: Any) -> tuple[Callable[..., Any] | None, list[str]]:
    """Return the overload that writes into given tensors, and its output arguments."""
    inputs = [(a.name, str(a.type)) for a in func._schema.arguments]
    packet = func.overloadpacket
    for overload in packet.overloads():
        candidate = getattr(packet, overload)
        arguments = candidate._schema.arguments
        names = [a.name for a in arguments if a.is_out]
        candidate_inputs = [(a.name, str(a.type)) for a in arguments if not a.is_out]
        if len(names) == len(func._schema.returns) and candidate_inputs == inputs:
            return candidate._op, names
    return None, []


def _python_function(
    name: str, args: Any, kwargs: Any, out: Tensor
) -> Callable[..., Any] | None:
    """Return ``torch.<name>``, which parses faster, if it takes the same arguments."""
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
    """Copy the results of a call that has no ``out`` overload into its recorded outputs."""
    for into, result in zip(outputs, _tensors(call(*args, **kwargs)), strict=True):
        into.copy_(result)


def _pack(recorder: _Recorder, result: Tensor) -> None:
    """Move temporaries into one arena, in which disjoint lifetimes share memory."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, (_, args, kwargs) in enumerate(recorder.calls):
        for tensor in _tensors((args, kwargs)):
            key = _storage(tensor)
            if key in recorder.created:
                first.setdefault(key, position)
                last[key] = position
    if _storage(result) in first:
        last[_storage(result)] = len(recorder.calls)
    size = {
        key: -(-recorder.created[key].untyped_storage().nbytes() // _ALIGN) * _ALIGN
        for key in first
    }
    offset: dict[int, int] = {}
    for key in sorted(first, key=lambda key: first[key]):
        occupied = sorted(
            (offset[o], offset[o] + size[o]) for o in offset if last[o] >= first[key]
        )
        free = 0
        for low, high in occupied:
            if free + size[key] <= low:
                break
            free = max(free, high)
        offset[key] = free
    total = max((offset[key] + size[key] for key in offset), default=0)
    arena = torch.empty(total + _ALIGN, dtype=torch.uint8)
    shift = -arena.data_ptr() % _ALIGN
    tensors = {id(tensor): tensor for tensor in [*recorder.tensors, result]}.values()
    moves = [(t, offset[_storage(t)]) for t in tensors if _storage(t) in offset]
    with torch.no_grad():
        for tensor, place in moves:
            start = (place + shift) // tensor.element_size() + tensor.storage_offset()
            view = torch.empty(0, dtype=tensor.dtype)
            view.set_(arena.untyped_storage(), start, tensor.shape, tensor.stride())
            tensor.data = view


def _tensors(tree: Any) -> list[Tensor]:
    """Return the tensors in nested arguments or results."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    """Return the address of the memory under a tensor."""
    return tensor.untyped_storage().data_ptr()


def _detached(value: Any) -> Any:
    """Detach a tensor; return any other value as it is."""
    return value.detach() if isinstance(value, Tensor) else value
