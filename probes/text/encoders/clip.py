"""Text encoder of CLIP, to which the published ProbeX is aligned."""

from __future__ import annotations

import numpy as np

from catalog.console.extras import require
from catalog.dtypes import Array
from probes.text.encoder import NamedEncoder

_BATCH = 64


class CLIP(NamedEncoder):
    """Text embeddings of CLIP [1]_ through transformers, of unit length.

    Parameters
    ----------
    model : str, default="openai/clip-vit-large-patch14"
        Folder, or name on the Hub; transformers downloads it (1.7 GB) if it is not cached.

    Raises
    ------
    ModuleNotFoundError
        If transformers is not installed: ``pip install 'phasezoo[text]'``.

    References
    ----------
    .. [1] Radford et al. 2021, arXiv:2103.00020.
    """

    name = "clip"
    summary = "CLIP ViT-L/14 through transformers (768 values)"

    def __init__(self, model: str = "openai/clip-vit-large-patch14") -> None:
        require("transformers")
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        self._tokenizer = AutoTokenizer.from_pretrained(model)
        self._model = CLIPTextModelWithProjection.from_pretrained(model).eval()

    def __call__(self, texts: list[str]) -> Array:
        """Return vectors (m, 768) of m texts."""
        parts = [self._encoded(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        return np.concatenate(parts)

    def _encoded(self, texts: list[str]) -> Array:
        import torch

        tokens = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            vectors = self._model(**tokens).text_embeds
        normalised: Array = torch.nn.functional.normalize(vectors, dim=1).numpy()
        return normalised
