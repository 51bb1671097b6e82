"""Encoders of weight matrices as embeddings: ProbeX, MVProbe, and several layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catalog.dtypes import Array
from probes.learning.matrices import Matrices

Shape = tuple[int, int]


class ProbeXEncoder(nn.Module):
    """Encoder e = Σ_l M_l ReLU(Vᵀ X u_l) + b of one matrix [1]_.

    Parameters
    ----------
    shape : (dH, dW)
        Shape of the matrix.
    n_probes, n_projections, n_representation : int
        Sizes r_U, r_V and r_T.
    relu : bool, default=True
        Apply the ReLU. False: a linear encoder, a Tucker-factorised dense expert.

    Notes
    -----
    U is drawn from U(±1/sqrt(r_U)), as in the published code, where the probes are the
    weights of a transposed linear layer: the fan-in is that of the layer, not dW.

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569.
    """

    def __init__(
        self,
        shape: Shape,
        n_probes: int,
        n_projections: int,
        n_representation: int,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.relu = relu
        self.U = _uniform(shape[1], n_probes, fan_in=n_probes)
        self.V = _uniform(shape[0], n_projections, fan_in=shape[0])
        self.M = nn.Linear(n_probes * n_projections, n_representation)

    def forward(self, X: Matrices) -> Tensor:
        """Return embeddings (b, r_T)."""
        P = X.right(self.U) @ self.V
        return self.M((P.relu() if self.relu else P).flatten(1))


class MVProbeEncoder(nn.Module):
    """Encoder of four views of one matrix, standardised for every network [1]_.

    The views are X U, X Xᵀ W, Xᵀ V and Xᵀ X Z. Each view is standardised to mean 0 and
    standard deviation 1 over its values, projected and rectified; one linear layer reads
    all views.

    Parameters
    ----------
    shape : (dH, dW)
        Shape of the matrix.
    n_probes, n_projections, n_representation : int
        Number of probes of each view, of values it is projected to, and of outputs.

    References
    ----------
    .. [1] "What Linear Probes Miss", 2026, arXiv:2605.23410.
    """

    def __init__(
        self, shape: Shape, n_probes: int, n_projections: int, n_representation: int
    ) -> None:
        super().__init__()
        dH, dW = shape
        r, q = n_probes, n_projections
        self.U, self.W = _uniform(dW, r, fan_in=r), _uniform(dH, r, fan_in=r)
        self.V, self.Z = _uniform(dH, r, fan_in=r), _uniform(dW, r, fan_in=r)
        sizes = (dH, dH, dW, dW)
        self.projections = nn.ParameterList([_uniform(m, q, fan_in=m) for m in sizes])
        self.encoder = nn.Linear(4 * r * q, n_representation)

    def forward(self, X: Matrices) -> Tensor:
        """Return embeddings (b, n_representation)."""
        views = (X.right(self.U), X.outer(self.W), X.left(self.V), X.inner(self.Z))
        projected = [
            _projected(view, projection).relu().flatten(1)
            for view, projection in zip(views, self.projections, strict=True)
        ]
        return self.encoder(torch.cat(projected, 1))


class EncoderNetwork(nn.Module):
    """Network of one encoder per layer, the sum of their embeddings, and a head.

    Parameters
    ----------
    encoder : callable
        Function that makes the encoder of a shape.
    shapes : sequence of (dH, dW)
        Shapes of the layers. The embeddings of several layers are summed with the weights
        of a learnt softmax, which starts uniform.
    n_representation, width : int
        Sizes of an embedding and of the outputs.
    """

    def __init__(
        self,
        encoder: Callable[[Shape], nn.Module],
        shapes: Sequence[Shape],
        n_representation: int,
        width: int,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([encoder(shape) for shape in shapes])
        if len(shapes) > 1:
            self.mixture = nn.Parameter(torch.zeros(len(shapes)))
        self.head = nn.Linear(n_representation, width)

    def embed(self, layers: Sequence[Matrices]) -> Tensor:
        """Return embeddings (b, n_representation)."""
        embeddings = [encoder(X) for encoder, X in zip(self.encoders, layers, strict=True)]
        if len(embeddings) == 1:
            return embeddings[0]
        return torch.einsum("l,lbe->be", self.mixture.softmax(0), torch.stack(embeddings))

    def forward(self, layers: Sequence[Matrices]) -> Tensor:
        """Return outputs (b, width)."""
        return self.head(self.embed(layers))

    def start_at_zero(self) -> None:
        """Set biases to 0, so that zero input gives the mean as prediction."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)


class TextNetwork(EncoderNetwork):
    """Network whose outputs are cosines with texts; its head maps the texts.

    Parameters
    ----------
    texts : ndarray of shape (C, e)
        Embeddings of the training classes.
    temperature : bool
        Divide cosines by a learnt temperature, which starts at 0.07 as in CLIP.
    """

    def __init__(
        self,
        encoder: Callable[[Shape], nn.Module],
        shapes: Sequence[Shape],
        n_representation: int,
        texts: Array,
        *,
        temperature: bool,
    ) -> None:
        super().__init__(encoder, shapes, texts.shape[1], n_representation)
        first = next(iter(self.encoders.parameters()))
        self.register_buffer("texts", torch.as_tensor(texts).to(first))
        self.sharpness = nn.Parameter(
            torch.tensor([math.log(1 / 0.07) if temperature else 0.0]),
            requires_grad=temperature,
        )

    def forward(self, layers: Sequence[Matrices]) -> Tensor:
        """Return logits (b, C)."""
        texts = F.normalize(self.head(self.texts), dim=1)
        return self.sharpness.exp() * (F.normalize(self.embed(layers), dim=1) @ texts.T)


def _projected(view: Tensor, projection: Tensor) -> Tensor:
    """Standardise views (b, r, m), and multiply them by (m, q)."""
    n = view[0].numel()
    # layer_norm is one fused kernel; it divides by n, a standard deviation by n - 1.
    normal = F.layer_norm(view, view.shape[1:], eps=1e-16)
    return normal @ (projection * math.sqrt((n - 1) / n))


def _uniform(rows: int, columns: int, *, fan_in: int) -> nn.Parameter:
    """Draw initial values as `torch.nn.Linear` does."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound))
