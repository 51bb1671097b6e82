"""Conversion of fitted models to JSON values and named arrays, and back.

Nothing that is read is executed: values are built from numbers, text, arrays and classes
that the reader names.
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
    """Class with a custom encoding.

    Attributes
    ----------
    kind : type
        The class.
    key : str
        Key that identifies the JSON objects of the class.
    encode : callable
        Function from a value, its place and the function that encodes nested values, to a
        JSON object.
    decode : callable
        Function from the JSON object and the function that decodes nested values, to a
        value.
    """

    kind: type
    key: str
    encode: Callable[[Any, str, Callable[[Any, str], Any]], dict[str, Any]]
    decode: Callable[[dict[str, Any], Callable[[Any], Any]], Any]


@dataclass(frozen=True)
class Records:
    """Encoder and decoder of numbers, text, arrays, layouts, and the given classes.

    Attributes
    ----------
    what : str
        Name of the encoded object in messages, such as "probe".
    plain : mapping of str to type
        Dataclasses by their names in files, which must not change. The fields are stored
        one by one and passed to the class on reading.
    special : tuple of Special
        Classes with a custom encoding.
    """

    what: str
    plain: Mapping[str, Any]
    special: tuple[Special, ...] = ()

    def encode(self, value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
        """Encode a value as JSON; arrays are added to ``tensors`` under their place.

        Parameters
        ----------
        value : Any
            The value.
        at : str
            Place of the value, such as "model.weights".
        tensors : dict of str to Tensor
            Arrays by place, which is extended.

        Raises
        ------
        CatalogError
            If a nested value has a type that cannot be stored.
        """

        def inside(nested: Any, place: str) -> Any:
            return self.encode(nested, place, tensors)

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
        for special in self.special:
            if isinstance(value, special.kind):
                return special.encode(value, at, inside)
        for tag, kind in self.plain.items():
            if type(value) is not kind:
                continue
            names = [field.name for field in fields(value)]
            field_values = {
                name: inside(getattr(value, name), f"{at}.{name}") for name in names
            }
            return {"record": tag, "fields": field_values}
        if isinstance(value, tuple | list):
            items = [inside(v, f"{at}.{i}") for i, v in enumerate(value)]
            return {"tuple": items} if isinstance(value, tuple) else items
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"dict": {k: inside(v, f"{at}.{k}") for k, v in value.items()}}
        raise CatalogError(
            f"A {self.what} cannot be saved with {at} of type {type(value).__name__}: only "
            "numbers, text, arrays and layouts can be stored."
        )

    def give_fitted(self, found: Any, values: Mapping[str, Any], source: object) -> None:
        """Set fitted attributes of an object; their names must end with ``_``.

        Raises
        ------
        CatalogError
            If a name does not end with ``_``, or begins with ``_``, such as ``__class__``.
        """
        for name, value in values.items():
            if not name.endswith("_") or name.startswith("_"):
                raise CatalogError(
                    f"{source} gives a {self.what} the attribute {name!r}, but fitting "
                    "sets only attributes whose names end with '_' and do not begin with "
                    "it."
                )
            setattr(found, name, value)

    def decode(self, value: Any, tensors: Mapping[str, Array], source: object) -> Any:
        """Decode a JSON value that `encode` returned.

        Parameters
        ----------
        value : Any
            The JSON value.
        tensors : mapping of str to ndarray
            Arrays by place.
        source : object
            Origin of the value, such as the path of a file, for messages.

        Raises
        ------
        CatalogError
            If `encode` cannot have written the value.
        """

        def inside(nested: Any) -> Any:
            return self.decode(nested, tensors, source)

        if isinstance(value, list):
            return [inside(v) for v in value]
        if not isinstance(value, dict):
            return value
        for special in self.special:
            if special.key in value:
                return special.decode(value, inside)
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
            field_values = {k: inside(v) for k, v in value["fields"].items()}
            return self.plain[value["record"]](**field_values)
        raise CatalogError(
            f"{source} holds an object with the keys {sorted(value)}, which no {self.what} "
            "contains."
        )
