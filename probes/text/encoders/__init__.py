"""Registry of named text encoders, one module each, and unit vectors of names."""

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
    """Return a callable unchanged, or the encoder of the given name.

    Raises
    ------
    NotFound
        If there is no such name; the message lists the closest names.
    ValueError
        If the encoder is None.
    """
    if encoder is None:
        raise ValueError(
            "This probe was fitted with an encoder without a name. Pass the same function "
            "again, encoder=your_function, which takes texts and returns an array."
        )
    if not isinstance(encoder, str):
        return encoder
    return ENCODERS[encoder]()


def embedded(
    encoder: str | Encoder | None,
    names: Sequence[str],
    template: str | Sequence[str] = TEMPLATE,
) -> Array:
    """Embed names, inserted into a template, as unit vectors (m, e) float64.

    Parameters
    ----------
    template : str or sequence of str
        Prompts with one ``{}`` each; the unit vectors of several prompts are averaged.
        Underscores of names become spaces.

    Raises
    ------
    ValueError
        If the template has no ``{}`` for the name, or the encoder returns a wrong shape or
        values that are not finite.

    Examples
    --------
    >>> embedded("ngrams", ["cat", "cats", "truck"]).shape
    (3, 512)
    """
    templates = [template] if isinstance(template, str) else list(template)
    if not templates or any(prompt.count("{}") != 1 for prompt in templates):
        raise ValueError(
            f"The template must have one {{}} for the name, such as {TEMPLATE!r}. Got "
            f"{template!r}."
        )
    encode = encoder_of(encoder)
    vectors = sum(_filled(encode, names, prompt) for prompt in templates)
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
    """Divide vectors (m, e) by their lengths; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Array = vectors / np.where(lengths > 0, lengths, 1.0)
    return units
