"""Text encoders with a name: one file each, one line here; and unit vectors of names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalog.dtypes import Array
from catalog.plugins.registry import Registry
from probes.text.encoder import TEMPLATE, Encoder, NamedEncoder
from probes.text.encoders.clip import CLIP as CLIP
from probes.text.encoders.minilm import MiniLM as MiniLM
from probes.text.encoders.ngrams import NGrams as NGrams

ENCODERS: Registry[type[NamedEncoder]] = Registry("encoder", NamedEncoder, __name__)


def encoder_of(encoder: str | Encoder | None) -> Encoder:
    """A callable as it is, or the encoder of that name.

    Raises
    ------
    NotFound
        If there is no such name, with the closest ones.
    ValueError
        If there is no encoder.
    """
    if encoder is None:
        raise ValueError(
            "This probe was fitted with an encoder that has no name. Pass the same one "
            "again: encoder=your_function, which takes texts and returns an array."
        )
    if not isinstance(encoder, str):
        return encoder
    return ENCODERS[encoder]()


def embedded(
    encoder: str | Encoder | None,
    names: Sequence[str],
    template: str | Sequence[str] = TEMPLATE,
) -> Array:
    """Unit vectors (m, e) float64 of names put into a template.

    Parameters
    ----------
    template : str or sequence of str
        With one ``{}``; the unit vectors of several are averaged. Underscores of names
        become spaces.

    Raises
    ------
    ValueError
        If the template has no place for the name, or the encoder returns other shapes or
        values that are not finite.

    Examples
    --------
    >>> embedded("ngrams", ["cat", "cats", "truck"]).shape
    (3, 512)
    """
    templates = [template] if isinstance(template, str) else list(template)
    if not templates or any(one.count("{}") != 1 for one in templates):
        raise ValueError(
            f"The template must have one {{}} for the name, such as {TEMPLATE!r}. Got "
            f"{template!r}."
        )
    known = encoder_of(encoder)
    vectors = sum(_filled(known, names, one) for one in templates)
    return unit(np.asarray(vectors))


def _filled(encoder: Encoder, names: Sequence[str], template: str) -> Array:
    texts = [template.replace("{}", str(name).replace("_", " ")) for name in names]
    vectors = np.asarray(encoder(texts), np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ValueError(
            f"The encoder must return a finite array of shape ({len(texts)}, e). Got "
            f"{vectors.shape}."
        )
    return unit(vectors)


def unit(vectors: Array) -> Array:
    """Vectors (m, e) divided by their lengths; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Array = vectors / np.where(lengths > 0, lengths, 1.0)
    return found
