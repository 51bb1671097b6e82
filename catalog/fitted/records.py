"""Values as JSON text and named arrays, and back: what fitted models are kept as.

Nothing that is read is code: it is built from numbers, text, arrays and classes that the
reader names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from catalog.dtypes import Array
from catalog.errors import CatalogError
from catalog.formats.format import Tensor
from catalog.layout import Layout


@dataclass(frozen=True)
class Special:
    """A class that is kept in a way of its own.

    Attributes
    ----------
    kind : type
    key : str
        What its JSON object is known by.
    encode : callable
        From a value, its place and the function that encodes what is in it, to JSON.
    decode : callable
        From the JSON and the function that decodes what is in it, to a value.
    """

    kind: type
    key: str
    encode: Callable[[Any, str, Callable[[Any, str], Any]], dict[str, Any]]
    decode: Callable[[dict[str, Any], Callable[[Any], Any]], Any]


@dataclass(frozen=True)
class Records:
    """What can be kept: numbers, text, arrays, layouts, and these classes.

    Attributes
    ----------
    what : str
        What a file holds, for messages: "probe".
    plain : mapping of str to type
        Dataclasses by the name that they have in files, which does not change. Their fields
        are kept one by one and given to the class again.
    special : tuple of Special
    """

    what: str
    plain: Mapping[str, Any]
    special: tuple[Special, ...] = ()

    def encode(self, value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
        """JSON of a value; arrays go to ``tensors`` under their place.

        Raises
        ------
        CatalogError
            If it holds something that is no data.
        """

        def inside(own: Any, place: str) -> Any:
            return self.encode(own, place, tensors)

        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "US" or value.dtype == object:
                strings = [str(v) for v in value.ravel()]
                return {"strings": strings, "shape": list(value.shape)}
            tensors[at] = Tensor(np.ascontiguousarray(value), str(value.dtype))
            return {"tensor": at}
        if isinstance(value, Layout):
            return {"layout": value.to_json()}
        for one in self.special:
            if isinstance(value, one.kind):
                return one.encode(value, at, inside)
        for tag, kind in self.plain.items():
            if type(value) is not kind:
                continue
            names = [field.name for field in fields(value)]
            own = {name: inside(getattr(value, name), f"{at}.{name}") for name in names}
            return {"record": tag, "fields": own}
        if isinstance(value, tuple | list):
            items = [inside(v, f"{at}.{i}") for i, v in enumerate(value)]
            return {"tuple": items} if isinstance(value, tuple) else items
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"dict": {k: inside(v, f"{at}.{k}") for k, v in value.items()}}
        raise CatalogError(
            f"A {self.what} cannot be saved with {at} of type {type(value).__name__}: only "
            "numbers, text, arrays and layouts are data."
        )

    def give_fitted(self, found: Any, values: Mapping[str, Any], source: object) -> None:
        """Set what fitting left in an object: names that end with ``_``, no others.

        Raises
        ------
        CatalogError
            If a name is another, such as that of a method.
        """
        for name, value in values.items():
            if not name.endswith("_") or name.startswith("_"):
                raise CatalogError(
                    f"{source} gives a {self.what} the attribute {name!r}, which fitting "
                    "does not leave."
                )
            setattr(found, name, value)

    def decode(self, value: Any, tensors: Mapping[str, Array], source: object) -> Any:
        """The value of some JSON; ``source`` is where it is from, for messages.

        Raises
        ------
        CatalogError
            If it is nothing that `encode` writes.
        """

        def inside(own: Any) -> Any:
            return self.decode(own, tensors, source)

        if isinstance(value, list):
            return [inside(v) for v in value]
        if not isinstance(value, dict):
            return value
        for one in self.special:
            if one.key in value:
                return one.decode(value, inside)
        if "tensor" in value:
            return tensors[value["tensor"]].copy()
        if "strings" in value:
            return np.array(value["strings"]).reshape(value["shape"])
        if "layout" in value:
            return Layout.from_json(value["layout"])
        if "tuple" in value:
            return tuple(inside(v) for v in value["tuple"])
        if "dict" in value:
            return {k: inside(v) for k, v in value["dict"].items()}
        if value.get("record") in self.plain:
            own = {k: inside(v) for k, v in value["fields"].items()}
            return self.plain[value["record"]](**own)
        raise CatalogError(
            f"{source} holds something that no {self.what} has: {sorted(value)}."
        )
