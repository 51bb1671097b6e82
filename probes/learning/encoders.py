"""Networks that turn weight matrices into embeddings: ProbeX, MVProbe, several layers."""

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
    """e = Σ_l M_l ReLU(Vᵀ X u_l) + b of one matrix [1]_.

    Parameters
    ----------
    shape : (dH, dW)
    n_probes, n_projections, n_representation : int
        r_U, r_V and r_T.
    relu : bool, default=True
        False: the encoder is linear, a Tucker-factorised dense expert.

    Notes
    -----
    U is drawn from U(±1/sqrt(r_U)), as in the published code, where the probes are the
    weights of a linear layer used backwards: the fan-in is that of the layer, not dW.

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
        """Embeddings (b, r_T)."""
        P = X.right(self.U) @ self.V
        return self.M((P.relu() if self.relu else P).flatten(1))


class MVProbeEncoder(nn.Module):
    """Four views of one matrix, standardised for every network, and an encoder [1]_.

    The views are X U, X Xᵀ W, Xᵀ V and Xᵀ X Z. Each has mean 0 and standard deviation 1
    over its values, is projected and rectified; one linear layer reads all.

    Parameters
    ----------
    shape : (dH, dW)
    n_probes, n_projections, n_representation : int
        Probes of each view; what a view is projected to; outputs.

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
        """Embeddings (b, n_representation)."""
        views = (X.right(self.U), X.outer(self.W), X.left(self.V), X.inner(self.Z))
        seen = [
            _projected(view, projection).relu().flatten(1)
            for view, projection in zip(views, self.projections, strict=True)
        ]
        return self.encoder(torch.cat(seen, 1))


class EncoderNetwork(nn.Module):
    """Encoders of the layers, the sum of their embeddings, and a head.

    Parameters
    ----------
    encoder : callable
        Makes the encoder of one shape.
    shapes : sequence of (dH, dW)
        Of several layers the embeddings are summed with learnt weights: a softmax, which
        starts even.
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
        """Embeddings (b, n_representation)."""
        each = [e(X) for e, X in zip(self.encoders, layers, strict=True)]
        if len(each) == 1:
            return each[0]
        return torch.einsum("l,lbe->be", self.mixture.softmax(0), torch.stack(each))

    def forward(self, layers: Sequence[Matrices]) -> Tensor:
        """Outputs (b, width)."""
        return self.head(self.embed(layers))

    def start_at_zero(self) -> None:
        """Set biases to 0, so that what carries nothing is given the mean."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)


class TextNetwork(EncoderNetwork):
    """A network whose outputs are cosines with texts: the head maps these.

    Parameters
    ----------
    texts : ndarray of shape (C, e)
        Embeddings of the training classes.
    temperature : bool
        Whether cosines are divided by a learnt number, which starts at 0.07 as in CLIP.
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
        """Logits (b, C)."""
        texts = F.normalize(self.head(self.texts), dim=1)
        return self.sharpness.exp() * (F.normalize(self.embed(layers), dim=1) @ texts.T)


def _projected(view: Tensor, projection: Tensor) -> Tensor:
    """Standardised views (b, r, m) times (m, q)."""
    n = view[0].numel()
    # One fused kernel; it divides by n where a standard deviation divides by n - 1.
    normal = F.layer_norm(view, view.shape[1:], eps=1e-16)
    return normal @ (projection * math.sqrt((n - 1) / n))


def _uniform(rows: int, columns: int, *, fan_in: int) -> nn.Parameter:
    """What `torch.nn.Linear` draws."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound))
