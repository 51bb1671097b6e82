"""Text search by trained probes: ProbeX or MVProbe, with a linear map of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from blake3 import blake3

from catalog import Layout
from catalog.dtypes import Array
from probes.exact.centring import Root, Scale
from probes.learning.learnt import LearntProbe, Precision
from probes.text.aligned import TextAligned
from probes.text.encoder import TEMPLATE, Encoder
from probes.text.encoders import unit

if TYPE_CHECKING:
    import torch
    from torch import nn

    from probes.learning.encoders import Shape

VIEWS = ("probex", "mvprobe")


class TextProbe(TextAligned, LearntProbe):
    """Alignment of embeddings of networks and of class names, trained by Adam [1]_.

    The logit of a class is the cosine of the embedding of a network and a linear map of the
    embedding of the name, divided by a learnt temperature; the loss is cross-entropy over
    training classes. The checkpoint is chosen on held-out networks of these classes; names
    that are tried later have no part in the choice.

    Parameters
    ----------
    encoder, template
        See `TextAligned`.
    views : {"probex", "mvprobe"}, default="probex"
        Encoder of matrices.
    temperature : bool, default=True
        Learn a temperature. False: logits are cosines, so that the loss of C classes cannot
        fall below log(1 + (C - 1) exp(-2)).
    layout, layer, n_probes, n_projections, n_representation
        See `ProbeX`.
    root, scale, cores, epochs, batch_size, lr, weight_decay, evaluate_every, validation,
    patience, precision, random_state, resume, verbose
        See `LearntProbe`. Cores are computed from ridge regression of the classes.

    See Also
    --------
    TextProbe.paper : Settings as published.

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569. Differs: there is a temperature as in CLIP,
       and weights are centred and scaled; the published code also chooses a checkpoint by
       its accuracy on the held-out classes.
    """

    name: ClassVar[str] = "text_probe"
    summary: ClassVar[str] = "learnt alignment of weights to embeddings of class names"

    def __init__(
        self,
        encoder: str | Encoder | None = "minilm",
        *,
        template: str | Sequence[str] = TEMPLATE,
        views: str = "probex",
        temperature: bool = True,
        layout: Layout | None = None,
        layer: str | Sequence[str] | None = None,
        n_probes: int = 128,
        n_projections: int = 128,
        n_representation: int = 128,
        root: Root = "mean",
        scale: Scale = "global",
        cores: int | None = None,
        epochs: int = 200,
        batch_size: int = 128,
        lr: float = 1e-3,
        weight_decay: float = 1e-5,
        evaluate_every: int = 10,
        validation: float = 0.125,
        patience: int | None = None,
        precision: Precision = "float32",
        random_state: int = 0,
        resume: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.encoder = encoder
        self.template = template
        self.views = views
        self.temperature = temperature
        self.layout = layout
        self.layer = layer
        self.n_probes = n_probes
        self.n_projections = n_projections
        self.n_representation = n_representation
        self.root = root
        self.scale = scale
        self.cores = cores
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.evaluate_every = evaluate_every
        self.validation = validation
        self.patience = patience
        self.precision = precision
        self.random_state = random_state
        self.resume = resume
        self.verbose = verbose

    @classmethod
    def paper(cls, encoder: str | Encoder = "clip", **params: Any) -> Self:
        """Return the published setup: raw, CLIP, no temperature, Adam 2e-3, no decay."""
        published = {
            "root": None, "scale": None, "temperature": False, "lr": 2e-3,
            "weight_decay": 0.0,
        }  # fmt: skip
        return cls(encoder, **{**published, **params})

    def embed(self, X: Array) -> Array:
        """Return unit vectors (n, n_representation)."""
        return unit(super(TextAligned, self).embed(X))

    def project(self, vectors: Array) -> Array:
        """Map text embeddings (m, e) to unit vectors (m, n_representation)."""
        weight, bias = self.weights_["head.weight"], self.weights_["head.bias"]
        return unit(vectors @ weight.T.astype(float) + bias)

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        if self.views not in VIEWS:
            raise ValueError(f"The views must be one of {VIEWS}. Got {self.views!r}.")
        number = self._numbers(y)
        self.texts_ = self._embedded([str(name) for name in self.classes_])
        onehot = (number[:, None] == range(len(self.classes_))).astype(float)
        super()._fit(X, onehot, groups)

    def _scores(self, X: Array) -> Array:
        return self._columns(super()._scores(X))

    def _encoder(self) -> Callable[[Shape], nn.Module]:
        from probes.learning.encoders import MVProbeEncoder, ProbeXEncoder

        encoder_class: Any = MVProbeEncoder if self.views == "mvprobe" else ProbeXEncoder
        sizes = (self.n_probes, self.n_projections, self.n_representation)
        return lambda shape: encoder_class(shape, *sizes)

    def _build(self, width: int) -> nn.Module:
        from probes.learning.encoders import TextNetwork

        return TextNetwork(
            self._encoder(), self._shapes(), self.n_representation, self.texts_,
            temperature=self.temperature,
        )  # fmt: skip

    def _fingerprint(self, X: Array, y: Array, train: Array) -> str:
        # The fingerprint covers the embeddings of the classes, not only parameters.
        base = super()._fingerprint(X, y, train)
        return base and f"{base} {blake3(self.texts_.tobytes()).hexdigest()}"

    def _criterion(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        from torch.nn import functional as F

        return F.cross_entropy

    def _validation_score(self, outputs: Array, y: Array) -> float:
        return float((outputs.argmax(1) == y.argmax(1)).mean())
